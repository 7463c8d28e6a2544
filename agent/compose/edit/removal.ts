// Variables taken out of the service's own environment: their entries go with their lines, every other byte stays.

import { isMap, isSeq, type Pair, type YAMLMap, type YAMLSeq } from 'yaml'
import { Problem } from '../../../shared/problems.ts'
import { checkEdit } from './check.ts'
import { envOf } from './model.ts'
import { endOf, endOfLine, endOfSigns, isEntryOf, ownPair, startOf } from './nodes.ts'
import { ownOf, refusal, sourceOf, type Source } from './source.ts'
import { splice, type Edit } from './splice.ts'

/** The text without these variables of the service. Throws `compose-not-editable` for one that is no entry of the service's own. */
export function withoutVariables(text: string, service: string, keys: readonly string[]): string {
  const source = sourceOf(text, service)
  const said = envOf(source.model.environment)
  const gone = keys.filter((key) => Object.hasOwn(said, key))
  if (gone.length === 0) return text
  const edited = gone.reduce((rest, key) => withoutVariable(source, rest, key), text)
  checkEdit(source, edited, { gone })
  return edited
}

// Takes out one entry at a time, each from the text that the last one left: their lines and commas may touch.
function withoutVariable(original: Source, text: string, key: string): string {
  const source = reread(original, text, key)
  if (!Object.hasOwn(envOf(source.model.environment), key)) return text
  const pair = ownOf(source, 'environment')
  const node = pair?.value
  if (!pair || !(isMap(node) || isSeq(node)))
    throw refusal(source, key, pair?.key ?? source.pair.key, 'comes from an anchor')
  if (node.tag === '!reset') throw refusal(source, 'environment', pair.key, 'is reset')
  const index = isMap(node)
    ? node.items.findIndex((item) => item === ownPair(node, key))
    : node.items.findLastIndex((item) => isEntryOf(source.document, item, key))
  if (index < 0) throw refusal(source, key, pair.key, 'comes from an anchor')
  const edits =
    node.items.length === 1 && !node.flow ? emptied(source, pair, node) : [removed(source, node, index)]
  return withoutVariable(original, splice(text, edits), key)
}

// Where the text cannot be read any more, an anchor that others use went with the entry.
function reread(original: Source, text: string, key: string): Source {
  try {
    return sourceOf(text, original.service)
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause
    throw refusal(original, key, original.pair.key, 'is shared with others by an anchor', cause)
  }
}

// compose refuses a key `environment:` with nothing below it. So the key goes too, since a deploy may have made it, unless something else hangs on
// it: then it gets an empty map or list.
function emptied(source: Source, pair: Pair, node: YAMLMap | YAMLSeq): Edit[] {
  const entry = removed(source, node, 0)
  const whole = lines(source, pair.key, endOf(pair))
  const left = source.text.slice(endOf(pair.key), entry.start) + source.text.slice(entry.end, whole.end)
  if (left.trim() === ':' && source.node.items.length > 1 && !source.node.flow) return [whole]
  const at = endOfSigns(pair)
  return [{ start: at, end: at, text: isSeq(node) ? ' []' : ' {}' }, entry]
}

function removed(source: Source, node: YAMLMap | YAMLSeq, index: number): Edit {
  const { text } = source
  const [before, item, after] = [node.items[index - 1], node.items[index], node.items[index + 1]]
  const [start, end] = [startOf(headOf(item)), endOf(item)]
  if (!node.flow) return lines(source, headOf(item), end)
  // The entry goes with one of its commas.
  const cut = {
    start: before === undefined ? start : endOf(before),
    end: before === undefined && after !== undefined ? startOf(headOf(after)) : end,
    text: '',
  }
  const around = text.slice(cut.start, start) + text.slice(end, cut.end)
  if (/^[\s,]*$/.test(around)) return cut
  throw refusal(source, 'environment', node, 'has a comment between its entries')
}

function lines(source: Source, head: unknown, end: number): Edit {
  const { text, eol } = source
  const start = startOf(head)
  const from = text.lastIndexOf('\n', start - 1) + 1
  if (!/^[ \t]*(?:-[ \t]+)?(?:[&!]\S*[ \t]+)*$/.test(text.slice(from, start)))
    throw refusal(source, 'environment', head, 'does not begin on a line of its own')
  // A block scalar's range includes its last line break; any other value's does not.
  if (text[end - 1] === '\n') return { start: from, end, text: '' }
  const to = endOfLine(text, end)
  if (to < text.length) return { start: from, end: to + (text[to] === '\r' ? 2 : 1), text: '' }
  return { start: Math.max(0, from - eol.length), end: to, text: '' }
}

const headOf = (item: unknown) => (item instanceof Object && 'key' in item ? item.key : item)

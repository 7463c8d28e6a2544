// GitLab. It does not tell of pushes to its registry, but of pipelines, by a webhook for pipeline events. That does not name the tags that the
// pipeline pushed, so those count which GitLab's own templates make of its branch, tag and commit. (A registry of one's own sends what
// `distribution` reads.) https://docs.gitlab.com/user/project/integrations/webhook_events/#pipeline-events

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const body = z.object({
  object_kind: z.string(),
  object_attributes: z.object({
    id: z.number().optional(),
    ref: z.string(),
    sha: z.string().optional(),
    status: z.string(),
    finished_at: time,
  }),
  project: z.object({ path_with_namespace: z.string(), default_branch: z.string().nullish() }),
})

const SHORT_SHA_CHARS = 8

export const gitlab: Registry = {
  credential: 'gitlab',
  isOfProjects: true,
  read: reader(
    body,
    ({ object_kind: kind, object_attributes: pipeline, project }): readonly RegistryEvent[] => {
      if (kind !== 'pipeline') return [{ ignored: 'not about a pipeline' }]
      if (pipeline.status !== 'success') return [{ ignored: 'the pipeline has not succeeded' }]
      const { id, ref, sha = '', finished_at: at } = pipeline
      // The likeliest is last, because the last counts where several fit.
      const tags = [sha, sha.slice(0, SHORT_SHA_CHARS), slugOf(ref), ref]
      if (ref === project.default_branch) tags.unshift('latest')
      return [...new Set(tags)].map((tag) =>
        pushOf({
          repository: project.path_with_namespace.toLowerCase(),
          tag,
          at,
          id: id === undefined ? undefined : `${id} ${tag}`,
        }),
      )
    },
  ),
}

/** As GitLab makes CI_COMMIT_REF_SLUG: https://docs.gitlab.com/ci/variables/predefined_variables/ */
function slugOf(ref: string): string {
  return ref
    .toLowerCase()
    .replaceAll(/[^0-9a-z]/g, '-')
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, '')
}

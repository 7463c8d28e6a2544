import { expect, test } from 'vitest'
import { editService } from '../../../../agent/compose/edit/edit.ts'
import { image, message } from './files.ts'

test.each([
  [
    'an alias is replaced',
    'x-i: &i a\nservices:\n  app1:\n    image: *i # x\n  app2:\n    image: *i\n',
    image('b'),
    'x-i: &i a\nservices:\n  app1:\n    image: b # x\n  app2:\n    image: *i\n',
  ],
  [
    'an aliased variable',
    'x-m: &m a\nservices:\n  app1:\n    environment: {MESSAGE: *m , B: *m}\n',
    message('b'),
    'x-m: &m a\nservices:\n  app1:\n    environment: {MESSAGE: b , B: *m}\n',
  ],
  [
    'an aliased entry',
    'x-m: &m MESSAGE=a\nservices:\n  app1:\n    environment:\n      - *m\n',
    message('b'),
    'x-m: &m MESSAGE=a\nservices:\n  app1:\n    environment:\n      - MESSAGE=b\n',
  ],
  [
    'a merged image is overridden',
    'x-a: &a\n  image: a\nservices:\n  app1:\n    <<: *a\n  app2:\n    <<: *a\n',
    image('b'),
    'x-a: &a\n  image: a\nservices:\n  app1:\n    <<: *a\n    image: b\n  app2:\n    <<: *a\n',
  ],
  [
    'a merged variable is overridden',
    'x-e: &e\n  MESSAGE: a\nservices:\n  app1:\n    environment:\n      <<: *e\n',
    message('b'),
    'x-e: &e\n  MESSAGE: a\nservices:\n  app1:\n    environment:\n      <<: *e\n      MESSAGE: b\n',
  ],
  [
    'an aliased environment is extended',
    'x-e: &e { A: x }\nservices:\n  app1:\n    environment: *e # x\n  app2:\n    environment: *e\n',
    message('b, c'),
    `x-e: &e { A: x }\nservices:\n  app1:\n    environment: {<<: *e, MESSAGE: 'b, c'} # x\n  app2:\n    environment: *e\n`,
  ],
  [
    'a merged environment with an anchor is extended',
    'x-a: &a\n  environment: &e\n    A: x\nservices:\n  app1:\n    <<: *a\n',
    message('b'),
    'x-a: &a\n  environment: &e\n    A: x\nservices:\n  app1:\n    <<: *a\n    environment:\n      <<: *e\n      MESSAGE: b\n',
  ],
  [
    'a merged environment of that variable only is replaced',
    'x-a: &a\n  environment: [MESSAGE=a]\nservices:\n  app1:\n    <<: [*a]\n',
    message('b'),
    'x-a: &a\n  environment: [MESSAGE=a]\nservices:\n  app1:\n    <<: [*a]\n    environment:\n      MESSAGE: b\n',
  ],
  [
    'an anchored service is edited, whoever merges it',
    'services:\n  app1: &app\n    image: a\n  app2:\n    <<: *app\n',
    image('b'),
    'services:\n  app1: &app\n    image: b\n  app2:\n    <<: *app\n',
  ],
  [
    'the other service is overridden',
    'services:\n  app2: &app\n    image: a\n  app1:\n    <<: *app\n',
    image('b'),
    'services:\n  app2: &app\n    image: a\n  app1:\n    <<: *app\n    image: b\n',
  ],
  [
    'a service that is an alias',
    'services:\n  app2: &app\n    image: a\n  app1: *app\n',
    image('b'),
    'services:\n  app2: &app\n    image: a\n  app1: {<<: *app, image: b}\n',
  ],
  [
    'a service that is an alias, without its variable',
    'services:\n  app2: &app\n    image: a\n  app1: *app\n',
    message('b'),
    'services:\n  app2: &app\n    image: a\n  app1: {<<: *app, environment: {MESSAGE: b}}\n',
  ],
  [
    'a merge below a quoted variable',
    'x-e: &e {A: x}\nservices:\n  app1:\n    environment:\n      "B": y\n      <<: *e\n',
    message('b'),
    'x-e: &e {A: x}\nservices:\n  app1:\n    environment:\n      "B": y\n      <<: *e\n      "MESSAGE": b\n',
  ],
  [
    'two merge keys',
    'x-a: &a {image: a}\nservices:\n  app1:\n    <<: *a\n    <<: {init: true}\n',
    image('b'),
    'x-a: &a {image: a}\nservices:\n  app1:\n    <<: *a\n    <<: {init: true}\n    image: b\n',
  ],
  [
    'an anchored environment that others override',
    'services:\n  app1:\n    environment: &e\n      MESSAGE: a\n  app2:\n    environment:\n      <<: *e\n      MESSAGE: c\n',
    message('b'),
    'services:\n  app1:\n    environment: &e\n      MESSAGE: b\n  app2:\n    environment:\n      <<: *e\n      MESSAGE: c\n',
  ],
  [
    'an anchor that only x- uses',
    'services:\n  app1:\n    image: &i a\nx-i: *i\n',
    image('b'),
    'services:\n  app1:\n    image: &i b\nx-i: *i\n',
  ],
])('%s', (_, before, change, after) => {
  expect(editService(before, 'app1', change)).toBe(after)
})

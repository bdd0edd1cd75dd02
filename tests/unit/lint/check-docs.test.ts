import { expect, test } from 'vitest'

import { findFaults, type Repository } from '../../../scripts/check-docs.ts'

const repository: Repository = {
  files: [
    'README.md',
    'docs/design.md',
    'docs/images/chat.png',
    'scripts/up',
    'sidecar/README.md',
    'sidecar/src/chat/turn.ts',
    'characters/mira/card.json',
  ],
  scripts: ['lint', 'db:generate'],
  isIgnored: (file) => file === 'data' || file.startsWith('dist/'),
}

const faults = (text: string, document = 'README.md') =>
  findFaults(document, text, repository).map(({ line, named }) => `${String(line)} ${named}`)

test.each([
  ['a path from the root', '`sidecar/src/chat/turn.ts`'],
  ['a path from the source folder', '`chat/turn.ts` knows the order'],
  ['a path with a line number', '`sidecar/src/chat/turn.ts:12`'],
  ['a folder', '`docs/images/`'],
  ['a bare name of one of our files', '`turn.ts`'],
  ['a command with arguments', '`./scripts/up --sidecar`'],
  ['a link with an anchor', '[design](docs/design.md#floors)'],
  ['an image', '![chat](docs/images/chat.png) and <img src="docs/images/chat.png">'],
  ['a link elsewhere', '[hono](https://hono.dev/docs/gone.md), [top](#top), [mail](mailto:a@b.c)'],
  ['a placeholder behind an existing folder', '`characters/<slug>/card.json`'],
  ['what is built or made while running', '`dist/main.js` and `./data`'],
  [
    'words that only look like paths',
    '`/v1/models` `application/json` `I/O` `card.json` `@hono/node-server` `node:fs/promises`',
  ],
  ['a known command', 'run `npm run lint` or `npm run db:generate`'],
])('%s is fine', (_, text) => {
  expect(faults(text)).toEqual([])
})

test.each([
  ['a path from the root', 'first\n`sidecar/src/chat/gone.ts`', '2 sidecar/src/chat/gone.ts'],
  ['a path from the source folder', '`chat/gone.ts`', '1 chat/gone.ts'],
  ['a folder', '`docs/gone/`', '1 docs/gone/'],
  ['a bare name', '`gone.py`', '1 gone.py'],
  ['a command', '`./scripts/gone now`', '1 ./scripts/gone'],
  ['a link', '[design](docs/gone.md#floors)', '1 docs/gone.md#floors'],
  ['an image', '<img src="docs/images/gone.png">', '1 docs/images/gone.png'],
  ['the folder before a placeholder', '`characters/gone/<file>`', '1 characters/gone/<file>'],
  [
    'a command in a code block',
    '```sh\nnpm run gone -- x\n./scripts/gone\n```',
    '2 npm run gone,3 ./scripts/gone',
  ],
])('%s that leads nowhere is found', (_, text, expected) => {
  expect(faults(text).join()).toBe(expected)
})

test('a link is relative to its document', () => {
  expect(faults('[turn](src/chat/turn.ts) [up](../scripts/up)', 'sidecar/README.md')).toEqual([])
  expect(faults('[turn](sidecar/src/chat/turn.ts)', 'sidecar/README.md')).toEqual([
    '1 sidecar/src/chat/turn.ts',
  ])
})

test('the files of an example in a code block are the reader’s own', () => {
  expect(faults('```sh\nnpm run lint -- cards/mine.png ./mine.json\n```')).toEqual([])
})

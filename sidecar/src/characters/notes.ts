/** The notes on one file. What repeats over the items of a list is one note with a count, so no file can make them many. */
import type { Note } from './card.ts'
import { LIMITS } from './limits.ts'
import { cut } from './text.ts'

const PATH_CHARACTERS = 200
const MESSAGE_CHARACTERS = 500

export interface Notebook {
  note(code: string, path: string, message: string): void
  /** In the order in which they were first made. */
  list(): Note[]
}

export function createNotebook(): Notebook {
  const kinds = new Map<string, { note: Note; count: number }>()
  let isFull = false
  return {
    note(code, path, message) {
      const shortPath = cut(path, PATH_CHARACTERS)
      const kind = `${code} ${shortPath.replaceAll(/\.\d+(?=\.|$)/g, '.*')}`
      const known = kinds.get(kind)
      if (known !== undefined) known.count++
      else if (kinds.size < LIMITS.notes)
        kinds.set(kind, {
          note: { code, path: shortPath, message: cut(message, MESSAGE_CHARACTERS) },
          count: 1,
        })
      else isFull = true
    },
    list() {
      const notes = [...kinds.values()].map(({ note, count }) =>
        count === 1 ? note : { ...note, message: `${note.message} (${count - 1} more like this)` },
      )
      return isFull ? [...notes, MORE] : notes
    },
  }
}

const MORE: Note = {
  code: 'more_notes',
  path: '',
  message: 'The file has more faults than are listed here; export it again from where it was made.',
}

/** Files out of a drop. A folder is walked and gives its cards; a file that was dropped itself is always taken. */

const CARD = /\.(png|json|charx|ya?ml|jpe?g|webp)$/i

/** To be called in the drop's own event: the browser empties the transfer afterwards. */
export async function filesOf(transfer: DataTransfer): Promise<File[]> {
  const taken = [...transfer.items]
    .filter((item) => item.kind === 'file')
    .map(async (item) => {
      const entry = item.webkitGetAsEntry()
      return entry?.isDirectory === true ? cardsIn(entry as FileSystemDirectoryEntry) : [item.getAsFile()]
    })
  const files = await Promise.all(taken)
  return files.flat().filter((file) => file !== null)
}

async function cardsIn(folder: FileSystemDirectoryEntry): Promise<File[]> {
  const reader = folder.createReader()
  const files: File[] = []
  // A reader hands out its entries in portions (100 in Chromium) and ends with an empty one.
  for (let entries = await portion(reader); entries.length > 0; entries = await portion(reader)) {
    for (const entry of entries) {
      if (entry.isDirectory) files.push(...(await cardsIn(entry as FileSystemDirectoryEntry)))
      else if (CARD.test(entry.name)) files.push(await fileOf(entry as FileSystemFileEntry))
    }
  }
  return files
}

const portion = (reader: FileSystemDirectoryReader) =>
  new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))

const fileOf = (entry: FileSystemFileEntry) =>
  new Promise<File>((resolve, reject) => entry.file(resolve, reject))

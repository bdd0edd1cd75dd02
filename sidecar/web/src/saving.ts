/** Gives a file to the browser's downloads. */
export function saveFile(file: File): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(file)
  link.download = file.name
  link.click()
  // The download has taken hold of the file when this turn of the event loop is over.
  setTimeout(() => URL.revokeObjectURL(link.href), 0)
}

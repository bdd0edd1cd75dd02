/** Opens a dialog as soon as it is on the page, above everything else, and gives the focus back when it leaves it. */
export function modal(dialog: HTMLDialogElement): () => void {
  const before = document.activeElement
  dialog.showModal()
  return () => {
    dialog.close()
    // The browser returns the focus of a dialog that was closed, but not of one that was taken off the page (Back).
    if (document.activeElement === document.body && before instanceof HTMLElement) before.focus()
  }
}

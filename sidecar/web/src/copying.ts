/**
 * Puts a text into the clipboard. Over plain http a browser gives pages none: then the text is selected where it stands, for the
 * person to copy.
 */
export async function copyText(text: string, shownIn: HTMLElement): Promise<'copied' | 'selected'> {
  try {
    await navigator.clipboard.writeText(text)
    return 'copied'
  } catch {
    // Absent over plain http, or refused by the person: the selection is all that is left.
    getSelection()?.selectAllChildren(shownIn)
    return 'selected'
  }
}

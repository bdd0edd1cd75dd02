/** Scrolls a row sideways to what is chosen in it, and the page not at all. */
export const inRow = (isChosen: boolean) => (element: HTMLElement) => {
  const row = element.closest('.scroll-row')
  if (!isChosen || row === null) return
  const [outer, inner] = [row.getBoundingClientRect(), element.getBoundingClientRect()]
  row.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2
}

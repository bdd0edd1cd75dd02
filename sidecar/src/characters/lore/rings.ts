/** Rings in a graph: for each knot of nodes that lead to each other, the shortest way round from its first node. */

/** By node, the nodes that it leads to. A node that leads to itself only is no ring. */
export type Graph = readonly (readonly number[])[]

export function findRings(graph: Graph): number[][] {
  return knotsOf(graph)
    .filter((knot) => knot.length > 1)
    .map((knot) => knot.sort((a, b) => a - b))
    .sort(([a = 0], [b = 0]) => a - b)
    .map((knot) => wayRound(graph, new Set(knot), knot[0] ?? 0))
}

/** After Tarjan, "Depth-first search and linear graph algorithms" (1972), with a stack of its own: chains may be long. */
function knotsOf(graph: Graph): number[][] {
  const knots: number[][] = []
  const order = new Map<number, number>()
  const lowest: number[] = []
  const open: number[] = []
  const isOpen = new Set<number>()
  const path: { node: number; next: number }[] = []
  const enter = (node: number) => {
    lowest[node] = order.size
    order.set(node, order.size)
    open.push(node)
    isOpen.add(node)
    path.push({ node, next: 0 })
  }
  const lower = (node: number, to: number | undefined) => {
    lowest[node] = Math.min(lowest[node] ?? Infinity, to ?? Infinity)
  }
  const leave = (node: number) => {
    path.pop()
    const parent = path.at(-1)
    if (parent !== undefined) lower(parent.node, lowest[node])
    if (lowest[node] !== order.get(node)) return
    const knot = open.splice(open.lastIndexOf(node))
    for (const member of knot) isOpen.delete(member)
    knots.push(knot)
  }
  for (const start of graph.keys()) {
    if (!order.has(start)) enter(start)
    for (let step = path.at(-1); step !== undefined; step = path.at(-1)) {
      const to = graph[step.node]?.[step.next++]
      if (to === undefined) leave(step.node)
      else if (!order.has(to)) enter(to)
      else if (isOpen.has(to)) lower(step.node, order.get(to))
    }
  }
  return knots
}

function wayRound(graph: Graph, knot: ReadonlySet<number>, start: number): number[] {
  const cameFrom = new Map<number, number>()
  const queue = [start]
  for (const node of queue)
    for (const to of graph[node] ?? []) {
      if (to === start && node !== start) return wayBack(node, cameFrom)
      if (!knot.has(to) || to === start || cameFrom.has(to)) continue
      cameFrom.set(to, node)
      queue.push(to)
    }
  return [start]
}

function wayBack(end: number, cameFrom: ReadonlyMap<number, number>): number[] {
  const way: number[] = []
  for (let node: number | undefined = end; node !== undefined; node = cameFrom.get(node)) way.unshift(node)
  return way
}

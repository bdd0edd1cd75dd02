/**
 * Sets of numbers in few bytes: sorted, each as its distance from the one before in groups of seven bits, lowest first (the
 * unsigned LEB128 of DWARF). Sets of several days can be united, which no count of them can.
 */

/** `members` in any order, each from 0 to 2^31 − 1 and not twice. */
export function packSet(members: Iterable<number>): Buffer {
  const sorted = Uint32Array.from(members).sort()
  const bytes = Buffer.allocUnsafe(sorted.length * 5)
  let length = 0
  let before = 0
  for (const member of sorted) {
    let rest = member - before
    before = member
    for (; rest > 127; rest >>>= 7) bytes[length++] = (rest & 127) | 128
    bytes[length++] = rest
  }
  return bytes.subarray(0, length)
}

/** Tells each member to `take`, in ascending order. */
export function eachMember(bytes: Uint8Array, take: (member: number) => void): void {
  let member = 0
  let distance = 0
  let shift = 0
  for (const byte of bytes) {
    distance |= (byte & 127) << shift
    shift += 7
    if (byte > 127) continue
    member += distance
    take(member)
    distance = 0
    shift = 0
  }
}

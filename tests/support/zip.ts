/** Zip archives, honest and otherwise, built byte by byte. */
import { crc32, deflateRawSync } from 'node:zlib'

export interface Packed {
  name: string
  content: Buffer | string
  /** What the headers say instead of the real length. */
  claimedBytes?: number
  isEncrypted?: boolean
  /** The name in Latin-1, without the mark of UTF-8. */
  isLatin1?: boolean
  /** Its content is that of the file before it: two names for the same bytes. */
  overlaps?: boolean
  /** Upper half of the external attributes: the Unix mode. */
  mode?: number
}

interface Shape {
  comment?: string
  /** With the longer end of the directory, and nothing in the short one but the mark that says so. */
  isZip64?: boolean
}

const EMPTY = deflateRawSync(Buffer.alloc(0))

export function zipOf(files: readonly Packed[], { comment = '', isZip64 = false }: Shape = {}): Buffer {
  const locals: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  let startsAt = 0
  for (const file of files) {
    const content = Buffer.from(file.content)
    const packed = content.length === 0 ? EMPTY : deflateRawSync(content)
    const name = Buffer.from(file.name, file.isLatin1 === true ? 'latin1' : 'utf8')
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE((file.isLatin1 === true ? 0 : 0x800) | (file.isEncrypted === true ? 1 : 0), 2)
    common.writeUInt16LE(8, 4)
    common.writeUInt32LE(crc32(content), 10)
    common.writeUInt32LE(packed.length, 14)
    common.writeUInt32LE(file.claimedBytes ?? content.length, 18)
    common.writeUInt16LE(name.length, 22)
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), common, name, packed])
    if (file.overlaps !== true) startsAt = at
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE(((file.mode ?? 0o100644) << 16) >>> 0, 6)
    tail.writeUInt32LE(startsAt, 10)
    directory.push(Buffer.from('PK\x01\x02\x14\x03', 'latin1'), common, tail, name)
    if (file.overlaps === true) continue
    locals.push(local)
    at += local.length
  }
  const list = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  // The field has 16 bits; where they do not suffice it wraps around, as some writers let it.
  end.writeUInt16LE(files.length & 0xffff, 8)
  end.writeUInt16LE(files.length & 0xffff, 10)
  end.writeUInt32LE(isZip64 ? 0xffffffff : list.length, 12)
  end.writeUInt32LE(isZip64 ? 0xffffffff : at, 16)
  end.writeUInt16LE(comment.length, 20)
  const longEnd = isZip64 ? zip64End(files.length, list.length, at) : Buffer.alloc(0)
  return Buffer.concat([...locals, list, longEnd, end, Buffer.from(comment, 'latin1')])
}

/** The record of the directory in 64 bits, and where it stands. */
function zip64End(files: number, listBytes: number, listAt: number): Buffer {
  const end = Buffer.alloc(56 + 20)
  end.write('PK\x06\x06', 'latin1')
  end.writeBigUInt64LE(44n, 4)
  end.writeUInt16LE(45, 12)
  end.writeUInt16LE(45, 14)
  for (const [at, value] of [
    [24, files],
    [32, files],
    [40, listBytes],
    [48, listAt],
    [64, listAt + listBytes],
  ] as const)
    end.writeBigUInt64LE(BigInt(value), at)
  end.write('PK\x06\x07', 56, 'latin1')
  end.writeUInt32LE(1, 72)
  return end
}

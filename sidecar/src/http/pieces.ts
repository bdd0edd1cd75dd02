/**
 * A body whose length nobody knows, piece by piece. Node hands each piece to the socket in four parts (its length, its end and a
 * line break behind each), which costs as much as all that Troupe does with the words in it; here it goes in one.
 */
import type { ServerResponse } from 'node:http'

export interface Pieces {
  /** False when the socket is full, as `ServerResponse.write`. */
  write(text: string): boolean
  end(): void
}

/** To be called when the head is written, and before any piece. */
export function writePieces(outgoing: ServerResponse): Pieces {
  // HTTP/1.0 knows no chunks: its body ends with the connection.
  if (!outgoing.chunkedEncoding)
    return { write: (text) => outgoing.write(text), end: () => void outgoing.end() }
  outgoing.chunkedEncoding = false
  return {
    // An empty one would be the end (RFC 9112, 7.1).
    write: (text) => text === '' || outgoing.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`),
    end: () => void outgoing.end('0\r\n\r\n'),
  }
}

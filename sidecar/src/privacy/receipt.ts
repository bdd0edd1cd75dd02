/** Receipts that anybody can check with our public key (Ed25519, RFC 8032). The key comes from the secret of the installation, so all its processes sign alike. */
import { createHmac, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'

/** PKCS #8 around the 32 bytes of an Ed25519 key (RFC 8410). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')

export interface SignedReceipt {
  receipt: Record<string, unknown>
  /** Base64 over the JSON of the receipt. */
  signature: string
  /** PEM. */
  publicKey: string
}

export function createSigner(secret: string) {
  const seed = createHmac('sha256', secret).update('erasure receipts').digest()
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
  return {
    publicKey,
    sign: (receipt: Record<string, unknown>): SignedReceipt => ({
      receipt,
      signature: sign(null, Buffer.from(JSON.stringify(receipt)), key).toString('base64'),
      publicKey,
    }),
  }
}

export function isGenuine({ receipt, signature, publicKey }: SignedReceipt): boolean {
  return verify(
    null,
    Buffer.from(JSON.stringify(receipt)),
    createPublicKey(publicKey),
    Buffer.from(signature, 'base64'),
  )
}

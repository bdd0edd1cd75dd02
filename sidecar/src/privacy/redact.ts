/**
 * Takes out of a text what points to a person: by patterns, and where a kind has check digits, by those. Made for role-play
 * texts, so a number alone is never enough. The same value has the same mark within one `createRedactor`: `[EMAIL_1]`.
 */

interface Kind {
  mark: string
  pattern: RegExp
  /** Sure enough; absent where the pattern is. */
  isReal?: (found: string) => boolean
  /** Groups of letters and digits: words that follow may look like more of them. */
  isInGroups?: true
}

const digits = (text: string) => text.replace(/\D/g, '')

/** Of cards (ISO/IEC 7812-1). */
function passesLuhn(text: string): boolean {
  const all = digits(text)
  if (all.length < 13 || all.length > 19 || /^(\d)\1*$/.test(all)) return false
  let sum = 0
  for (let at = 0; at < all.length; at++) {
    const digit = Number(all[all.length - 1 - at])
    const doubled = at % 2 === 1 ? digit * 2 : digit
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return sum % 10 === 0
}

/** Of IBANs (ISO 13616): the remainder by 97 of the number that the letters stand for is 1. */
function passesMod97(text: string): boolean {
  const plain = text.replace(/[\s-]/g, '').toUpperCase()
  if (plain.length < 15 || plain.length > 34) return false
  const moved = plain.slice(4) + plain.slice(0, 4)
  let rest = 0
  for (const letter of moved) {
    const value = Number.parseInt(letter, 36)
    rest = (value > 9 ? rest * 100 + value : rest * 10 + value) % 97
  }
  return rest === 1
}

/** Of German tax ids (ISO 7064 MOD 11,10). */
function passesMod11(text: string): boolean {
  const all = digits(text)
  if (all.length !== 11 || all.startsWith('0')) return false
  let product = 10
  for (const digit of all.slice(0, 10)) {
    const sum = (Number(digit) + product) % 10 || 10
    product = (sum * 2) % 11
  }
  return (11 - product) % 10 === Number(all[10])
}

/** Of Spanish DNI and NIE. */
function passesDni(text: string): boolean {
  const [, prefix = '', number = '', letter = ''] = /^([XYZ]?)(\d{7,8})-?([A-Z])$/i.exec(text) ?? []
  const value = Number(`${prefix === '' ? '' : String('XYZ'.indexOf(prefix.toUpperCase()))}${number}`)
  return 'TRWAGMYFPDXBNJZSQVHLCKE'[value % 23] === letter.toUpperCase()
}

/** Of United States social security numbers: areas that were never given out are none. */
const isSsn = (text: string) => !/^(?:000|666|9\d\d)|-00-|0000$/.test(text)

const isIpv4 = (text: string) => text.split('.').every((part) => Number(part) <= 255)

/** Seven to fifteen digits, as E.164 has them. */
const isPhone = (text: string) => digits(text).length >= 7 && digits(text).length <= 15

/** The more special ones first: a card inside a key is a key. */
const KINDS: readonly Kind[] = [
  { mark: 'KEY', pattern: /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/g },
  { mark: 'KEY', pattern: /\b(?:sk|pk|rk|ghp|gho|xox[abp]|troupe|whsec|AKIA|AIza)[-_]?[A-Za-z0-9_-]{16,}/g },
  { mark: 'EMAIL', pattern: /[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}/gu },
  {
    mark: 'IBAN',
    pattern: /\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{1,4}){3,9}\b/gi,
    isReal: passesMod97,
    isInGroups: true,
  },
  { mark: 'CARD', pattern: /\b\d(?:[ -]?\d){12,18}\b/g, isReal: passesLuhn },
  { mark: 'ID', pattern: /\b\d{3}-\d{2}-\d{4}\b/g, isReal: isSsn },
  { mark: 'ID', pattern: /\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b/g, isReal: passesMod11 },
  { mark: 'ID', pattern: /\b(?:[XYZ]\d{7}|\d{8})-?[A-Z]\b/gi, isReal: passesDni },
  { mark: 'IP', pattern: /(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)/g, isReal: isIpv4 },
  {
    mark: 'IP',
    pattern: /(?<![\w:])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,6}(?![\w:])/gi,
    isReal: isIpv6,
  },
  { mark: 'PHONE', pattern: /(?<![\w.])\+\d[\d ()./-]{6,20}\d\b/g, isReal: isPhone },
  { mark: 'PHONE', pattern: /(?<![\w.,])\(?0\d{1,5}\)?[ /-]{1,2}\d[\d /-]{4,14}\d\b/g, isReal: isPhone },
  { mark: 'PHONE', pattern: /(?<![\w.,])\(?[2-9]\d{2}\)?[ .-]\d{3}[ .-]\d{4}\b/g },
  {
    mark: 'ADDRESS',
    pattern:
      /\b\p{Lu}[\p{L}.-]*(?:straße|strasse|str\.|weg|gasse|allee|platz|ring)\s+\d{1,4}\s?[a-z]?(?:,?\s+\d{5}\s+\p{Lu}\p{L}+)?/gu,
  },
  {
    mark: 'ADDRESS',
    pattern:
      /\b\d{1,5}\s+(?:\p{Lu}[\p{L}'.-]*\s+){1,3}(?:Street|St\.?|Road|Rd\.?|Avenue|Ave\.?|Lane|Ln\.?|Drive|Dr\.?|Boulevard|Blvd\.?)(?=[\s,.]|$)(?:,\s*[\p{L} ]+,?\s+[A-Z]{2}\s+\d{5})?/gu,
  },
  { mark: 'ADDRESS', pattern: /\b(?:rue|avenue|calle|via|ulica)\s+(?:\p{L}+\s+){1,4}\d{1,4}\b/giu },
]

function isIpv6(text: string): boolean {
  const groups = text.split(':')
  return groups.length >= 4 && (groups.length === 8 || text.includes('::')) && /[a-f]|\d{2}/i.test(text)
}

export type Redactor = (text: string) => string

export function createRedactor(): Redactor {
  const marks = new Map<string, string>()
  const counts = new Map<string, number>()

  function markOf(kind: string, value: string): string {
    const known = marks.get(`${kind} ${value}`)
    if (known !== undefined) return known
    const count = (counts.get(kind) ?? 0) + 1
    counts.set(kind, count)
    const mark = `[${kind}_${String(count)}]`
    marks.set(`${kind} ${value}`, mark)
    return mark
  }

  return (text) =>
    KINDS.reduce(
      (left, kind) =>
        left.replace(kind.pattern, (found) => {
          const real = realPart(found, kind)
          return real === '' ? found : markOf(kind.mark, real) + found.slice(real.length)
        }),
      text,
    )
}

/** Empty where nothing of it is. */
function realPart(found: string, kind: Kind): string {
  const { isReal, isInGroups } = kind
  if (isReal === undefined || isReal(found)) return found
  const shorter = found.replace(/[ -][^ -]*$/, '')
  return isInGroups === undefined || shorter === found ? '' : realPart(shorter, kind)
}

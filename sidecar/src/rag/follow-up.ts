/**
 * Whether a turn goes on with the question before it, or is small talk behind it: "And when?" and "How are you?" share no word
 * with what is asked about. What tells them apart is grammar, in words of closed classes: who is spoken of, and whether
 * anything points back. English, German, Spanish, Chinese and Thai are measured by
 * `tests/unit/rag/follow-up.test.ts`; the words of other languages are not.
 */
import { isAsking } from './gate.ts'
import { rawWords } from './words.mjs'

/** `told`: only where its own words stand in the base as well. */
export type FollowUp = 'clear' | 'told' | 'none'

const setOf = (words: string): ReadonlySet<string> => new Set(words.split(' '))

/** Of English, German, Spanish, French, Russian, Thai. */
const FIRST = setOf(
  'i me my mine we us our ours lets ich mich mir mein meine meinen meiner wir uns unser unsere yo mi mis conmigo nos nosotros ' +
    'nosotras nuestro nuestra je moi nous я меня мне мои мы нас нам ฉัน ผม ดิฉัน หนู เรา',
)
const SECOND = setOf(
  'you your yours yourself u du dich dir dein deine deinen deiner ihr euch euer eure te ti tu tus contigo usted ustedes os ' +
    'vosotros vosotras toi ta ton tes vous ты тебя тебе твои вы вас вам ваш คุณ เธอ แก นาย ท่าน',
)
/** Chinese and Japanese write them without blanks. */
const FIRST_UNSPACED = /[我咱俺私僕]/
const SECOND_UNSPACED = /[你您妳君]|あなた/
/**
 * Thai may leave out whom it asks. Then it is told by the verb (how are you, what is it, what do you mean, where to; to want,
 * like, think, feel, say, eat, sleep …), by อยู่ at the end, which asks what somebody is at, or by the particles of feeling.
 */
const SECOND_IN_THAI = new RegExp(
  [
    'เป็น(?:อย่างไร|ยังไง|ไง|อะไร)|หมายความ|ไปไหน|ไม่รู้|ทำอะไร|จัง|เหรอ|หรอ|สิ',
    'อยาก|ชอบ|รัก|เกลียด|คิด|รู้สึก|พูด|คุย|กิน|นอน|หลับ|ฝัน|ตื่น|เหนื่อย|หิว|เบื่อ|เหงา|กลัว|เศร้า|โกรธ|สบาย|กอด|ยิ้ม|หัวเราะ',
    String.raw`อยู่(?:ไหม|มั้ย|หรือเปล่า|รึเปล่า)?(?:ครับ|ค่ะ|คะ|นะ)*[\s?]*$`,
  ].join('|'),
)

const ASKING_WORDS = setOf(
  'who whom whose what when where which why how wer wen wem wessen was wann warum weshalb wieso wie wieviel wo woher wohin womit ' +
    'wofur wodurch woraus welche welcher welches welchen welchem que quien quienes cual cuales cuando cuanto cuanta cuantos cuantas ' +
    'donde adonde como qui quoi quand comment pourquoi combien quel quelle quels quelles кто что когда где куда почему как сколько',
)
const ASKING_UNSPACED =
  /อะไร|ใคร|ที่ไหน|ตรงไหน|อันไหน|เมื่อไร|เมื่อไหร่|เมื่อใด|ทำไม|อย่างไร|ยังไง|เท่าไร|เท่าไหร่|เท่าใด|แค่ไหน|กี่|什么|谁|哪|为什么|怎么|多少|多久|多大|几|呢|ล่ะ/

/** Pronouns of things and others, demonstratives, "also", "other". */
const POINTING = setOf(
  'it its he him his she her hers they them their theirs this that these those there here one ones same such another other others ' +
    'former latter also too then er ihn ihm sie ihnen das dies diese dieser dieses jene jener dort da dahin dorthin davon dafur damit ' +
    'daruber darin dazu danach auch andere anderen anderer noch lo le les eso esto ese esa esos esas aquel alli ahi tambien otro otra ' +
    'otros otras ello cela ca celui aussi autre autres это этот эти он она они там тоже другие มัน นั้น นี้ นั่น นี่ เขา อีก ด้วย',
)
const POINTING_UNSPACED = /[它他她这那其也]|另|别的|还|之后|以后/
/** Spanish: "devolverlo", "abrirlas". */
const ATTACHED = /.[aei]rl[oae]s?$/
/** "Is there", of things that were not named yet. */
const EXISTING = /\b(?:is|are|was|were) there\b|\bgibt es\b|\bhay\b|\bil y a\b|есть ли|有|มี/iu
const MORE = setOf(
  'more else further details detail elaborate explain example examples continue mehr weiter weiteres einzelheiten genauer naher erklar ' +
    'erklare erklaren beispiel beispiele detalles detalle explica explicame explicarlo ejemplo ejemplos sigue davantage подробнее еще',
)
/** Not "later" nor "slower". */
const MORE_IN_SPANISH = /\bmas (?:sobre|de|del|acerca)\b|^(?:\S+ ){1,2}mas$/
const MORE_UNSPACED = /เพิ่ม|รายละเอียด|อธิบาย|ตัวอย่าง|详细|多说|再说|再讲|更多|解释|举例|继续/
const OPENING = setOf('and or und oder y et а и แล้ว')
const OPENING_UNSPACED = /^(?:那|那么|แล้ว)/

/** Longer turns say by themselves what they are after. */
const MOST_WORDS = 8
const FRAGMENT_WORDS = 4

export function followUpOf(text: string): FollowUp {
  if (isElliptical(text)) return 'clear'
  if (!asks(text)) return 'none'
  const { isFirst, isSecond } = personsOf(text)
  const words = rawWords(text)
  const isOpen = has(words, ASKING_WORDS) || ASKING_UNSPACED.test(text)
  const points =
    has(words, POINTING) || POINTING_UNSPACED.test(text) || words.some((word) => ATTACHED.test(word))
  if (isSecond) return points ? 'told' : 'none'
  if (isFirst) return points ? (isOpen ? 'clear' : 'told') : 'none'
  return isOpen || points || EXISTING.test(text) ? 'clear' : 'told'
}

/** Means nothing without what was said before: "tell me more", "and the second one". */
export function isElliptical(text: string): boolean {
  if (text.includes('!')) return false
  const words = rawWords(text)
  return wantsMore(text, words) || isFragment(text, words)
}

export const asks = (text: string): boolean => isAsking(text) || ASKING_UNSPACED.test(text)

const has = (words: readonly string[], set: ReadonlySet<string>) => words.some((word) => set.has(word))

function personsOf(text: string): { isFirst: boolean; isSecond: boolean } {
  const words = rawWords(text)
  return {
    isFirst: has(words, FIRST) || FIRST_UNSPACED.test(text),
    isSecond:
      has(words, SECOND) ||
      SECOND_UNSPACED.test(text) ||
      SECOND_IN_THAI.test(text) ||
      addressesInSpanish(text),
  }
}

/** A wish, of the other or of nobody; nothing that somebody tells of themselves. */
function wantsMore(text: string, words: readonly string[]): boolean {
  if (words.length > MOST_WORDS || SUBJECTS.has(words[0] ?? '') || words.includes('i')) return false
  return has(words, MORE) || MORE_UNSPACED.test(text) || MORE_IN_SPANISH.test(words.join(' '))
}

function isFragment(text: string, words: readonly string[]): boolean {
  const opens = OPENING.has(words[0] ?? '') || OPENING_UNSPACED.test(text)
  const { isFirst, isSecond } = personsOf(text)
  return opens && words.length <= FRAGMENT_WORDS && !isFirst && !isSecond
}

const SUBJECTS = setOf('i we ich wir yo je nous я мы')

/**
 * Whom a Spanish question asks stands in its verb alone, which ends in -s and stands first, or behind the word that asks:
 * "¿Cómo estás?", "¿Vienes?".
 */
function addressesInSpanish(text: string): boolean {
  if (!text.includes('¿')) return false
  const words = rawWords(text.slice(text.lastIndexOf('¿')))
  if (words.some((word) => SPANISH_VERBS.has(word)) || SPANISH_GREETING.test(words.join(' '))) return true
  const [first = '', second = ''] = words[0] === 'por' ? words.slice(1) : words
  const verb = SPANISH_OPENERS.has(first) ? second : first
  return verb.length > 4 && /[aei]s$|ste$/.test(verb)
}

const SPANISH_OPENERS = setOf('que como cuando donde quien')
const SPANISH_GREETING = /^(?:y )?que (?:tal\b|onda\b|hay$|hay de nuevo|pasa$)/
const SPANISH_VERBS = setOf(
  'eres estas has tienes vas puedes quieres sabes haces crees eras fuiste sois estais',
)

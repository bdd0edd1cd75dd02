/**
 * Phrases by which a document speaks to the model instead of the reader. Nothing is left out because of them: a text about
 * prompt injection is full of them. They are told to who added the document.
 */

/** Bounded, and without nested repetition: a text costs its length. */
const PHRASES: readonly RegExp[] = [
  /\b(?:ignore|disregard|forget|override)\s(?:(?:all|any|every|each|the|these|those|your|my|our|of|previous|prior|above|earlier|preceding|system|safety)\s){1,6}(?:instructions?|prompts?|rules?|context|guidelines)\b/i,
  /\b(?:you are now|from now on,? you(?:'re| are| will| must)|act as (?:an? )?(?:unrestricted|jailbroken|dan))\b/i,
  /\b(?:reveal|print|repeat|show|output|leak)\b.{0,30}\b(?:system|hidden|initial)\b.{0,10}\b(?:prompt|message|instructions?)\b/i,
  /\b(?:do not|don't|never) (?:tell|mention|inform|reveal)\b.{0,30}\b(?:the )?user\b/i,
  /\b(?:new|updated|real|developer) (?:system )?(?:instructions?|prompt)\s*:/i,
  /\b(?:dear|attention|note to|message (?:for|to)) (?:the )?(?:ai|llm|language model|chatbot|assistant)\b/i,
  /\bignorier\w*\b.{0,30}\b(?:anweisung|anweisungen|regeln|vorgaben)\b/i,
  /\bignore[zr]?\b.{0,30}\b(?:instructions|consignes|règles)\b.{0,20}\bpr[ée]c[ée]dentes\b/i,
  /\b(?:ignora|olvida|omite)\b.{0,30}\b(?:instrucciones|reglas|istruzioni|regole)\b/i,
  /(?:игнорируй|забудь)\w*.{0,30}(?:инструкци|указани|правил)/i,
  /(?:忽略|无视|忘记).{0,12}(?:指令|指示|提示|规则)/,
  /(?:以前|上記|これまで)の.{0,8}(?:指示|命令).{0,6}(?:無視|忘れ)/,
  /<[|\uFF5C][^<>|\uFF5C\n]{1,40}[|\uFF5C]>|<\/?(?:start_of_turn|end_of_turn|start_header_id)>|\[\/?INST\]|<<\/?SYS>>/i,
  /^\s{0,8}(?:###\s*)?(?:system|assistant|developer)\s*:/im,
]

const SHOWN_CHARACTERS = 120

/** The first such phrase with what stands around it, in one line; undefined when there is none. */
export function findSuspicious(text: string): string | undefined {
  for (const phrase of PHRASES) {
    const found = phrase.exec(text)
    if (found !== null)
      return text
        .slice(found.index, found.index + SHOWN_CHARACTERS)
        .replaceAll(/\s+/g, ' ')
        .trim()
  }
  return undefined
}

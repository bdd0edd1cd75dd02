/** What a base finds: for one question, and for all questions of its exam. */
import { writeFile } from 'node:fs/promises'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { required, textOf, type Command, type Run } from '../command.ts'

const Tested = z.looseObject({
  passages: z.array(
    z.looseObject({
      documentName: z.string(),
      page: z.number().nullable(),
      /** Null for what a plugin brought. */
      score: z.number().nullable(),
      similarity: z.number().nullable(),
      text: z.string(),
    }),
  ),
})

async function test({ positionals, values, api, screen }: Run): Promise<number> {
  const [subject, ...words] = positionals
  const question = words.join(' ').trim()
  if (subject === undefined || question === '')
    throw new AppError('invalid', 'Name a character and a question, or a base with --base')
  const where = values['base'] === true ? { bases: [subject] } : { character: subject }
  const found = await api.call('POST', '/troupe/api/knowledge/test', Tested, { question, ...where })
  for (const { documentName, page, score, similarity, text } of found.passages) {
    const place = page === null ? documentName : `${documentName}, page ${String(page)}`
    screen.line(`${foundBy(score, similarity)}  ${place}`)
    screen.line(`        ${text.replaceAll(/\s+/g, ' ').slice(0, SHOWN_CHARACTERS)}`)
  }
  if (found.passages.length === 0) screen.line('Nothing would be put into the prompt.')
  screen.result(found)
  return 0
}

const SHOWN_CHARACTERS = 160

function foundBy(score: number | null, similarity: number | null): string {
  if (score === null) return 'by a plugin'
  return `${score.toFixed(4)}  ${similarity === null ? 'words alone' : `meaning ${similarity.toFixed(2)}`}`
}

const Question = z.looseObject({ id: z.string(), question: z.string(), documentName: z.string() })
const Questions = z.looseObject({ questions: z.array(Question) })
const Ran = z.looseObject({
  hitRate: z.number(),
  ndcg: z.number(),
  unanswered: z.number(),
  questions: z.array(
    Question.extend({
      rank: z.number().nullable(),
      isUnanswered: z.boolean(),
      rankBefore: z.number().nullish(),
    }),
  ),
})
type Ran = z.infer<typeof Ran>

const exam = (base: string, rest = '') => `/troupe/api/knowledge/exams/${encodeURIComponent(base)}${rest}`

async function list({ positionals, api, screen }: Run): Promise<number> {
  const answer = await api.call('GET', exam(required(positionals, NAME_A_BASE)), Questions)
  for (const { id, question, documentName } of answer.questions)
    screen.line(`${id}  ${question}  → ${documentName}`)
  screen.result(answer)
  return 0
}

const NAME_A_BASE = 'Name the base'

async function add({ positionals, values, api, screen }: Run): Promise<number> {
  const base = required(positionals, NAME_A_BASE)
  const [question, quote, document] = ['question', 'quote', 'document'].map((name) => textOf(values, name))
  if (question === undefined || quote === undefined || document === undefined)
    throw new AppError(
      'invalid',
      'Give --question, the --quote that answers it, and the name of its --document',
    )
  const added = await api.call('POST', exam(base), Question, { question, quote, document })
  screen.line(`${added.id} is in the exam of ${base}.`)
  screen.result(added)
  return 0
}

async function remove({ positionals, api, screen }: Run): Promise<number> {
  const [base, id] = positionals
  if (base === undefined || id === undefined) throw new AppError('invalid', 'Name the base and the question')
  await api.call('DELETE', exam(base, `/${encodeURIComponent(id)}`), z.null())
  screen.line(`${id} is gone.`)
  screen.result({ id, deleted: true })
  return 0
}

/** Exit code 1 when a question lost its passage or was not answered in time, or fewer are found than asked for. */
async function run({ positionals, values, api, screen }: Run): Promise<number> {
  const base = required(positionals, NAME_A_BASE)
  const least = Number(textOf(values, 'least') ?? 0)
  if (!(least >= 0 && least <= 1))
    throw new AppError('invalid', '--least is a share of the questions, from 0 to 1')
  const ran = await api.call('POST', exam(base, '/run'), Ran)
  for (const each of ran.questions) screen.line(`${verdictOf(each).padEnd(22)} ${each.question}`)
  screen.line(`${(ran.hitRate * 100).toFixed(1)} % found, nDCG@10 ${ran.ndcg.toFixed(3)}`)
  if (ran.unanswered > 0)
    screen.line(
      `${String(ran.unanswered)} not answered in time, which say nothing about the base; run it again when the searches are well`,
    )
  const report = textOf(values, 'junit')
  if (report !== undefined) await writeFile(report, junitOf(base, ran))
  screen.result(ran)
  return ran.unanswered > 0 || ran.hitRate < least || ran.questions.some(isLost) ? 1 : 0
}

const isMissed = ({ rank, isUnanswered }: Ran['questions'][number]) => rank === null && !isUnanswered
const isLost = (each: Ran['questions'][number]) => isMissed(each) && typeof each.rankBefore === 'number'

function verdictOf({ rank, rankBefore, isUnanswered }: Ran['questions'][number]): string {
  if (isUnanswered) return 'not answered in time'
  const place = rank === null ? 'not found' : `place ${String(rank)}`
  if (rankBefore === undefined || rankBefore === rank) return place
  return `${place} (was ${rankBefore === null ? 'not found' : String(rankBefore)})`
}

/** The form that most CI servers read: https://github.com/testmoapp/junitxml */
function junitOf(base: string, { questions, unanswered }: Ran): string {
  const failures = questions.filter(isMissed).length
  const cases = questions.map((each) => {
    const name = `name="${escapeXml(each.question)}" classname="knowledge.${escapeXml(base)}"`
    if (each.rank !== null) return `    <testcase ${name}/>`
    const message = escapeXml(`${verdictOf(each)}: expected a passage of ${each.documentName}`)
    const what = each.isUnanswered ? 'error' : 'failure'
    return `    <testcase ${name}><${what} message="${message}"/></testcase>`
  })
  const counts = `tests="${String(questions.length)}" failures="${String(failures)}" errors="${String(unanswered)}"`
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite name="knowledge exam of ${escapeXml(base)}" ${counts}>`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

const ENTITIES: Readonly<Record<string, string>> = { '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;' }
/** XML has no way to write most control characters. */
const escapeXml = (text: string): string =>
  text.replaceAll(/[^\t\n\r\P{Cc}]/gu, ' ').replaceAll(/[<>&"]/g, (sign) => ENTITIES[sign] ?? '')

export const knowledgeExamCommands: readonly Command[] = [
  {
    name: 'knowledge test',
    usage: 'knowledge test CHARACTER QUESTION | --base BASE QUESTION',
    summary: 'shows the passages that a question would bring into the prompt',
    options: { base: { type: 'boolean' } },
    run: test,
  },
  {
    name: 'exam list',
    usage: 'exam list BASE',
    summary: 'lists the questions that a base must find something for',
    options: {},
    run: list,
  },
  {
    name: 'exam add',
    usage: 'exam add BASE --question WORDS --quote WORDS --document NAME',
    summary: 'adds a question with what should be found for it',
    options: { question: { type: 'string' }, quote: { type: 'string' }, document: { type: 'string' } },
    run: add,
  },
  {
    name: 'exam remove',
    usage: 'exam remove BASE QUESTION',
    summary: 'takes a question out of the exam',
    options: {},
    run: remove,
  },
  {
    name: 'knowledge exam',
    usage: 'knowledge exam BASE [--least SHARE] [--junit FILE]',
    summary: 'asks all questions of the exam: hit rate, nDCG, and what changed since the last time',
    details:
      'Exit code 1 when a question that found its passage the last time does not any more, when a search came too late to tell, ' +
      'or when a smaller share than --least is found.',
    options: { least: { type: 'string' }, junit: { type: 'string' } },
    run,
  },
]

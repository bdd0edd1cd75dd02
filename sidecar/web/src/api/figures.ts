import { readFigure, type Figure } from '../figures/figure.ts'
import { addressOf, type Question } from '../figures/questions.ts'
import { call, json } from './calling.ts'

/** A year of ten million calls takes half a second; a machine that is rolling up at the same time takes longer. */
const ANSWER_TIMEOUT_MS = 60_000

export async function askFigure(question: Question): Promise<Figure> {
  return readFigure(await json(await call(addressOf(question), {}, ANSWER_TIMEOUT_MS)))
}

export async function exportFigure(question: Question): Promise<File> {
  const response = await call(addressOf(question, 'csv'), {}, ANSWER_TIMEOUT_MS)
  return new File([await response.blob()], `troupe-${question.figure}-${question.from}-${question.to}.csv`)
}

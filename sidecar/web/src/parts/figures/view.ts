/** What every part of the page of the figures shares. */
import { createContext } from 'svelte'

import type { Figures } from '../../figures.svelte.ts'
import type { Choice } from '../../figures/choice.ts'
import type { Row } from '../../figures/figure.ts'
import type { Question, QuestionName } from '../../figures/questions.ts'
import type { Library } from '../../library.svelte.ts'
import type { Place } from '../../place.svelte.ts'
import type { Session } from '../../session.svelte.ts'
import type { Theme } from '../../theme.svelte.ts'

export interface FiguresView {
  figures: Figures
  library: Library
  place: Place
  session: Session
  theme: Theme
  readonly choice: Choice
  readonly questions: Record<QuestionName, Question>
  /** What a row of the table of the tab is about. */
  rowName: (row: Row) => string
}

export const [readView, shareView] = createContext<FiguresView>()

/** Takes down a turn for a character that wants samples. Off unless the character's settings say so, and then said to who talks. */
import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import { settingsOf } from '#characters/settings.ts'
import type { Samples } from '#privacy/samples.ts'
import { messageText, type Ask } from '#prompt/ask.ts'
import type { Speaker } from '#prompt/prompt.ts'
import type { Notice, Told } from '#providers/provider.ts'

export interface Sampling {
  /** Comes before the first word. */
  notice: Notice
  see(told: Told): void
  /** Never throws: a sample that is lost is no fault of the answer. */
  keep(): Promise<void>
}

export interface Sampler {
  /** Undefined where nothing is kept. */
  begin(ask: Ask, speaker: Speaker | undefined): Sampling | undefined
}

interface SamplerParts {
  samples: Pick<Samples, 'keep'>
  isHidden: (personId: string) => boolean
  pseudonym: (kind: 'person' | 'chat', id: string) => string
  log: Log
  /** From 0 to 1. */
  chance?: () => number
}

export function createSampler(on: SamplerParts): Sampler {
  const { chance = Math.random } = on
  return {
    begin(ask, speaker) {
      const isTurn = ask.task === undefined && ask.isWarmUp !== true
      const sampling = speaker && isTurn ? settingsOf(speaker.card).sampling : undefined
      if (speaker === undefined || sampling === undefined || chance() >= sampling.share) return undefined
      const { person, subUser, conversation } = ask
      const who = person?.id ?? subUser
      if (who !== undefined && on.isHidden(who)) return undefined
      let answered = ''
      return {
        notice: {
          type: 'status',
          text: `This character keeps turns for ${String(sampling.days)} days, with mail addresses and numbers taken out, so that its author can make it better`,
          isDone: true,
        },
        see(told) {
          if (told.type === 'text') answered += told.text
        },
        async keep() {
          const last = ask.messages.findLast(({ role }) => role === 'user')
          await on.samples
            .keep({
              requestId: ask.requestId,
              characterId: speaker.characterId,
              person: who === undefined ? null : on.pseudonym('person', who),
              chat: conversation.chatId === undefined ? null : on.pseudonym('chat', conversation.chatId),
              said: last === undefined ? '' : messageText(last),
              answered,
              days: sampling.days,
            })
            .catch((thrown: unknown) => {
              on.log.warn({ errorCode: toAppError(thrown).code }, 'a sample could not be kept')
            })
        },
      }
    },
  }
}

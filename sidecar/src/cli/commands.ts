/** All commands, in the order in which the help shows them. */
import type { Command } from './command.ts'
import { analyticsCommands } from './commands/analytics.ts'
import { backupCommands } from './commands/backup.ts'
import { characterCommands } from './commands/characters.ts'
import { doctorCommands } from './commands/doctor.ts'
import { importCommands } from './commands/imports.ts'
import { keyCommands } from './commands/keys.ts'
import { knowledgeBaseCommands } from './commands/knowledge-bases.ts'
import { documentCommands } from './commands/knowledge-documents.ts'
import { knowledgeExamCommands } from './commands/knowledge-exams.ts'
import { knowledgeSourceCommands } from './commands/knowledge-sources.ts'
import { lorebookCommands } from './commands/lorebooks.ts'
import { modelCommands } from './commands/models.ts'
import { openWebUiCommands } from './commands/openwebui.ts'
import { privacyCommands } from './commands/privacy.ts'
import { webhookCommands } from './commands/webhooks.ts'

export const COMMANDS: readonly Command[] = [
  ...importCommands,
  ...characterCommands,
  ...lorebookCommands,
  ...documentCommands,
  ...knowledgeBaseCommands,
  ...knowledgeSourceCommands,
  ...knowledgeExamCommands,
  ...doctorCommands,
  ...modelCommands,
  ...openWebUiCommands,
  ...keyCommands,
  ...analyticsCommands,
  ...backupCommands,
  ...privacyCommands,
  ...webhookCommands,
]

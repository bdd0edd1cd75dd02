/**
 * Text of cards and lore without the marks by which chat templates tell who speaks: a card that holds `<|im_end|>` would
 * otherwise end our system message and begin one of its own. Model servers read such marks wherever they stand.
 */

/** ChatML, Llama 2 and 3, Gemma, Mistral, Phi, DeepSeek (with its own bars). Bounded, so that no text costs more than its length. */
const MARKS = new RegExp(
  [
    String.raw`<[|\uFF5C][^<>|\uFF5C\n]{1,40}[|\uFF5C]>`,
    String.raw`<</?SYS>>`,
    String.raw`</?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|start_header_id|end_header_id)>`,
    String.raw`\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG|IMG_BREAK|IMG_END)\]`,
  ].join('|'),
  'gi',
)

/** The marks stay readable: a blank behind their first sign is enough that no template knows them. */
export const neutralise = (text: string): string =>
  text.replaceAll(MARKS, (mark) => `${mark.slice(0, 1)} ${mark.slice(1)}`)

import { describe, expect, test } from 'vitest'

import { MODEL_PROFILES, profileOf } from '#providers/model-profiles.ts'

describe('a name is known', () => {
  test.each([
    ['llama3.2:1b', 'Llama 3.2'],
    ['llama3.2', 'Llama 3.2'],
    ['llama3.2:1b-instruct-q4_K_M', 'Llama 3.2'],
    ['library/llama3.2:latest', 'Llama 3.2'],
    ['registry.ollama.ai/library/llama3.1:8b', 'Llama 3.1'],
    ['hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M', 'Llama 3.2'],
    ['meta-llama/Llama-3.1-8B-Instruct', 'Llama 3.1'],
    ['Meta-Llama-3.1-8B-Instruct-IQ4_XS.gguf', 'Llama 3.1'],
    ['hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4', 'Llama 3.1'],
    ['codellama', 'Code Llama'],
    ['codellama:13b', 'Code Llama'],
    ['codellama:7b-instruct-q5_1', 'Code Llama'],
    ['codellama/CodeLlama-13b-Instruct-hf', 'Code Llama'],
    ['codellama-13b-instruct.Q4_K_M.gguf', 'Code Llama'],
    ['mistral', 'Mistral 7B'],
    ['mistral:7b', 'Mistral 7B'],
    ['mistralai/Mistral-7B-Instruct-v0.3', 'Mistral 7B'],
    ['Mistral-7B-Instruct-v0.3-Q8_0.gguf', 'Mistral 7B'],
    ['qwen3:8b', 'Qwen 3'],
    ['qwen3:30b-a3b', 'Qwen 3'],
    ['Qwen/Qwen3-8B', 'Qwen 3'],
    ['Qwen_Qwen3-4B-Q4_K_M.gguf', 'Qwen 3'],
    ['unsloth/Qwen3-14B-unsloth-bnb-4bit', 'Qwen 3'],
    ['gemma3', 'Gemma 3'],
    ['gemma3:4b-it-qat', 'Gemma 3'],
    ['google_gemma-3-12b-it-Q6_K.gguf', 'Gemma 3'],
    ['google/gemma-3-4b-it-qat-q4_0-gguf', 'Gemma 3'],
    ['gemma3:1b', 'Gemma 3, 1B and less'],
    ['google/gemma-3-270m-it', 'Gemma 3, 1B and less'],
    ['smollm2:135m', 'SmolLM2'],
    ['SmolLM2-135M-Instruct-Q4_1.gguf', 'SmolLM2'],
    ['HuggingFaceTB/SmolLM2-1.7B-Instruct', 'SmolLM2'],
  ])('%s is %s', (name, title) => {
    expect(profileOf(name)?.title).toBe(title)
  })
})

describe('a name is unknown', () => {
  test.each([
    ['codellama:7b-python', 'it completes Python and does not chat'],
    ['codellama:13b-code', 'it completes code'],
    ['codellama:70b', 'it has another template'],
    ['CodeLlama-13b-Python-hf', 'it does not chat'],
    ['meta-llama/Llama-3.1-8B', 'it was not trained to chat'],
    ['llama3.1:8b-text-q4_0', 'it was not trained to chat'],
    ['llama3.2-vision:11b', 'it sees'],
    ['meta-llama/Llama-3.2-11B-Vision-Instruct', 'it sees'],
    ['llama3:8b', 'it is Llama 3'],
    ['llama3.3:70b', 'it is Llama 3.3'],
    ['tinyllama:1.1b', 'it is another model'],
    ['DeepSeek-R1-Distill-Llama-8B', 'it was trained further'],
    ['dolphin-mistral:7b', 'it was trained further'],
    ['somebody/llama3.2:1b', 'nobody knows what somebody made of it'],
    ['Llama-3.1-8B-Instruct-Uncensored-Q4_K_M.gguf', 'it was trained further'],
    ['mistral-nemo:12b', 'it is another model'],
    ['mistral-small', 'it is another model'],
    ['mistralai/Mistral-7B-Instruct-v0.1', 'it is older'],
    ['qwen2.5', 'it is Qwen 2.5'],
    ['qwen2.5:7b', 'it is Qwen 2.5'],
    ['qwen3.5:9b', 'it is Qwen 3.5'],
    ['qwen3-coder:30b', 'it codes'],
    ['qwen3-embedding:4b', 'it embeds'],
    ['qwen3-vl:8b', 'it sees'],
    ['Qwen/Qwen3-8B-Base', 'it was not trained to chat'],
    ['Qwen/Qwen3-4B-Instruct-2507', 'it cannot think'],
    ['gemma2', 'it is Gemma 2'],
    ['gemma3n:e4b', 'it is Gemma 3n'],
    ['google/gemma-3-4b-pt', 'it was not trained to chat'],
    ['smollm:135m', 'it is SmolLM'],
    ['HuggingFaceTB/SmolLM3-3B', 'it is SmolLM3'],
    ['HuggingFaceTB/SmolLM2-135M', 'it was not trained to chat'],
    ['mira:latest', 'somebody made it'],
    ['', 'it is empty'],
  ])('%s, since %s', (name) => {
    expect(profileOf(name)).toBeUndefined()
  })
})

test('each model that can be pulled is known by its name, and asks for no more than it was trained for', () => {
  for (const profile of MODEL_PROFILES) {
    expect(profile.contextTokens).toBeLessThanOrEqual(profile.trainedContextTokens)
    for (const { name } of profile.pulls) expect(profileOf(name)?.title).toBe(profile.title)
  }
})

/**
 * What Redis does in one step. Time is Redis's own, in microseconds: clocks of replicas do not matter. A sliding log, because
 * fixed windows and token buckets let up to twice the limit through in some minute.
 */

/**
 * ARGV: id, then kind, most, window or life in ms, amount, and life of the reservation in ms of each rule; one key for each. What
 * is reserved of a sum stands beside it, as `amount:id`. Mirrors `claim` of `memory.ts`.
 */
export const CLAIM = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local text = function(number) return string.format('%.0f', number) end
local id = ARGV[1]
local unknown = {'unknown'}
local refusing = 0
local lefts = {}
local waits = {}
for at, key in ipairs(KEYS) do
  local kind = ARGV[at * 5 - 3]
  local most = tonumber(ARGV[at * 5 - 2])
  local spanUs = tonumber(ARGV[at * 5 - 1]) * 1000
  local needed = 1
  local left = 0
  local wait = 0
  if kind == 'window' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now - spanUs))
    left = most - redis.call('ZCARD', key)
    local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if oldest[2] then wait = tonumber(oldest[2]) + spanUs - now end
  elseif kind == 'lease' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
    left = most - redis.call('ZCARD', key)
  else
    local sum = redis.call('GET', key)
    if sum then
      left = most - tonumber(sum)
      redis.call('ZREMRANGEBYSCORE', key .. ':held', '-inf', text(now))
      for _, held in ipairs(redis.call('ZRANGE', key .. ':held', 0, -1)) do
        left = left - tonumber(string.match(held, '^%d+'))
      end
    else unknown[#unknown + 1] = key end
    needed = math.max(1, tonumber(ARGV[at * 5]))
  end
  if refusing == 0 and left < needed then refusing = at end
  lefts[at] = left
  waits[at] = wait
end
if #unknown > 1 then return unknown end
local answer = {refusing == 0 and 'granted' or 'refused', refusing - 1}
for at, key in ipairs(KEYS) do
  local kind = ARGV[at * 5 - 3]
  local spanMs = tonumber(ARGV[at * 5 - 1])
  local taken = 1
  if kind == 'sum' then taken = tonumber(ARGV[at * 5]) end
  if refusing == 0 then
    if kind == 'window' then
      redis.call('ZADD', key, text(now), text(now) .. ':' .. id)
      redis.call('PEXPIRE', key, text(spanMs))
    elseif kind == 'lease' then
      redis.call('ZADD', key, text(now + spanMs * 1000), id)
      redis.call('PEXPIRE', key, text(spanMs))
    elseif taken ~= 0 then
      local heldMs = tonumber(ARGV[at * 5 + 1])
      redis.call('ZADD', key .. ':held', text(now + heldMs * 1000), text(taken) .. ':' .. id)
      redis.call('PEXPIRE', key .. ':held', text(heldMs))
    end
    lefts[at] = lefts[at] - taken
  end
  answer[#answer + 1] = lefts[at]
  answer[#answer + 1] = waits[at]
end
return answer
`

/** KEYS: what holds leases and reservations, then sums. ARGV: how many hold, who is let go in each, what is added to each sum. */
export const SETTLE = `
local holders = tonumber(ARGV[1])
for at, key in ipairs(KEYS) do
  if at <= holders then
    redis.call('ZREM', key, ARGV[at + 1])
  elseif redis.call('EXISTS', key) == 1 then
    redis.call('INCRBY', key, ARGV[at + 1])
  end
end
`

/** ARGV: who holds it and life in ms of each lease and reservation. */
export const RENEW = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for at, key in ipairs(KEYS) do
  local ttlMs = ARGV[at * 2]
  redis.call('ZADD', key, string.format('%.0f', now + ttlMs * 1000), ARGV[at * 2 - 1])
  if redis.call('PTTL', key) < tonumber(ttlMs) then redis.call('PEXPIRE', key, ttlMs) end
end
`

/** The first count begins the life of the key; ARGV: life in ms. */
export const INCREMENT = `
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
`

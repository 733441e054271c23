-- Charges every account that is named, or none of them.
--
-- KEYS: the accounts, all in one slot.
-- ARGV: three whole numbers of microseconds for each account: what the charge costs, what a full account can pay, and
--       the moment (on this server's clock) at which the asking node knows the account to be full again, or 0.
-- Answers with this server's time, and for each account the moment at which it would have been full without the
-- charge. Who asked can tell from these numbers alone what was decided.
--
-- All numbers are whole and below 2^53, where Lua's are exact. Nothing is formatted: the server writes numbers in full.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local count = #KEYS
local reply, fits, learned = { now }, true, false
for i = 1, count do
  local full_at = tonumber(redis.call('GET', KEYS[i]) or 0) or 0
  -- What is no number is nobody's debt: one that does not equal itself would pass every comparison below.
  if full_at ~= full_at then full_at = 0 end
  local known = tonumber(ARGV[3 * i])
  -- A restart without memory, or a decision that a node had to make alone: the node remembers more than the server.
  if known > full_at then full_at, learned = known, true end
  -- No account is ever deeper in debt than this, unless a clock was set back: then it is forgiven all but one window,
  -- once, or that window would begin anew with every question.
  local ceiling = now + ARGV[3 * i - 1]
  if full_at > ceiling then full_at, learned = ceiling, true end
  if full_at < now then full_at = now end
  reply[i + 1] = full_at
  fits = fits and full_at + ARGV[3 * i - 2] <= ceiling
end
for i = 1, count do
  local full_at, charge = reply[i + 1], fits and ARGV[3 * i - 2] + 0 or 0
  local left = full_at + charge - now
  -- A full account is the same as an unknown one. A refused account is written only if a node knew better.
  if left > 0 and (charge > 0 or learned) then
    redis.call('SET', KEYS[i], now + left, 'PX', (left - left % 1000) / 1000 + 1)
  end
end
return reply

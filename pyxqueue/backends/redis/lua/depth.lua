-- How many messages are where, at one moment: they move.
-- KEYS the keys of the group, meta
-- ARGV group, the priority classes in use as the caller knows them
-- Returns how many are in the live streams and fair lines, in flight, delayed, failed, in the history, in lines of
-- gates, dependent, and delayed but due, and for how many ms the first message of a live stream has been ready, of the
-- stream where that is longest; or 'GROUPS' if the caller's classes are out of date.
if (call('HGET', KEYS[FIRST_TASK], 'classes') or '') ~= ARGV[2] then return 'GROUPS' end
local group, entries, in_flight, oldest = ARGV[1], 0, 0, 0
local paused = paused_at(KEYS[FIRST_TASK], group)
local keys = slice(KEYS, 1, FIRST_TASK - 1)
for _, live in ipairs(live_streams(keys)) do
  local place, stream = unpack(live)
  entries = entries + call('XLEN', stream)
  in_flight = in_flight + call('XPENDING', stream, group)[1]
  local last = last_handed_out(stream, group, paused, place)
  local first = last and last ~= AT_END and call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
  if first then
    local fields = {}
    for at = 1, #first[2], 2 do fields[first[2][at]] = first[2][at + 1] end
    local since = ms(fields._since or fields.enqueued) or tonumber(first[1]:match('^%d+'))
    oldest = math.max(oldest, now_ms() - since)
  end
end
local delayed, lined = call('ZCARD', KEYS[DELAYED]), call('ZCARD', keys[LINES])
local due = delayed > 0 and call('ZCOUNT', KEYS[DELAYED], '-inf', int(now_ms())) or 0
for _, mark in ipairs(delayed > 0 and {TURN, EXPIRY, LOOK} or {}) do
  local score = call('ZSCORE', KEYS[DELAYED], mark)
  if score then delayed = delayed - 1 end
  if score and tonumber(score) <= now_ms() then due = due - 1 end
end
local in_fair_lines = lined > 0 and call('ZLEXCOUNT', keys[LINES], '[' .. FAIR, '(fair;') or 0
entries, lined = entries + in_fair_lines, lined - in_fair_lines
local dependent = call('HLEN', KEYS[DEPENDENTS])
local unfinished, started = unpack(call('HMGET', KEYS[DEPENDENTS], UNFINISHED, STARTED))
if unfinished then
  dependent, delayed = dependent - 1, math.max(0, delayed - (ms(unfinished) or 0))
end
if started then dependent = math.max(0, dependent - 1 - (ms(started) or 0)) end
local failed, ended = call('XLEN', KEYS[FAILED]), call('XLEN', KEYS[HISTORY])
return {entries, in_flight, delayed, failed, ended, lined, dependent, math.min(due, delayed), int(oldest)}

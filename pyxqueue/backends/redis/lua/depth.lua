-- How many messages are where, at one moment: they move.
-- KEYS the keys of the group, meta
-- ARGV group
-- Returns how many are in both live streams, in flight, delayed, failed, in the history and in lines of gates; then,
-- for each live stream, the id up to which it was handed out.
local group, entries, in_flight, last = ARGV[1], 0, 0, {}
local paused = paused_at(KEYS[FIRST_TASK], group)
for i, place in ipairs({'n', 'a'}) do
  local stream = KEYS[PLACES[place]]
  entries = entries + call('XLEN', stream)
  in_flight = in_flight + call('XPENDING', stream, group)[1]
  last[i] = last_handed_out(stream, group, paused, place)
end
local delayed, lined = call('ZCARD', KEYS[DELAYED]), call('ZCARD', KEYS[LINES])
for _, mark in ipairs(delayed > 0 and {TURN, EXPIRY} or {}) do
  if call('ZSCORE', KEYS[DELAYED], mark) then delayed = delayed - 1 end
end
return {entries, in_flight, delayed, call('XLEN', KEYS[FAILED]), call('XLEN', KEYS[HISTORY]), lined, unpack(last)}

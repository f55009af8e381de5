-- Read records of tasks of another broker. With a channel: have it told when those that are missing arrive.
-- KEYS the keys of the group, then the key of each record
-- ARGV group, channel ('' for none)
-- Returns per id: the record's hash, flat, or an empty list.
local group, channel, now, results = ARGV[1], ARGV[2], now_ms(), {}
local MAX_WAIT = 86400000 -- ms for which the channels of waiters are kept where no record is stored yet
local FIELDS = {
  'v', 'state', 'attempt', 'value', 'serializer', 'seal', 'error', 'worker', 'progress', 'ran', 'ended', 'ttl',
  'fence',
}
for item = FIRST_TASK, #KEYS do
  local key = KEYS[item]
  local waiting, ended, ttl = unpack(fields_of(key, 'waiters', 'ended', 'ttl'))
  local record = {}
  if is_readable(ended, ttl, now) then
    for i, value in ipairs(fields_of(key, unpack(FIELDS))) do
      if value then
        record[#record + 1] = FIELDS[i]
        record[#record + 1] = value
      end
    end
  elseif channel ~= '' then
    waiting = with_channel(waiting, channel)
    if waiting then
      allow_writes(KEYS[NEW], group)
      call('HSET', key, 'waiters', waiting)
    end
    call('PEXPIRE', key, MAX_WAIT)
  end
  results[#results + 1] = record
end
return results

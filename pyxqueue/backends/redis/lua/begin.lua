-- Whether tasks in flight may start now; only for their holder. What has expired ends; a lock that is held until the
-- start is given back.
-- KEYS the keys of the group, then the task key of each item
-- ARGV group, history limit, then per item: place, entry, consumer, id
-- Returns per item: 0 lost, 1 run, 2 expired; then the tasks whose turn it is. A repeat of an answer that was lost gets
-- the same, or 0 for what has ended.
local keys, group, history, now = slice(KEYS, 1, FIRST_TASK - 1), ARGV[1], tonumber(ARGV[2]), now_ms()
local results = {}

local function begin(key, place, entry, consumer, id)
  local stream = keys[PLACES[place]]
  if holder(stream, group, entry) ~= consumer then return 0 end
  local task = task_at(key)
  if is_copy(keys, group, task, place, entry) then return 0 end
  local fields = read(stream, entry)
  local expires = expiry_of(keys, id) or fields and ms(field(fields, 'expires')) or 0
  allow_writes(keys[NEW], group)
  if expires == 0 or (expires > now and expires ~= math.huge) then
    local lock = task.more and notes_of(keys, id, 'lock')[1]
    if lock and lock_of(lock) == 's' then
      give_back(keys, id, lock)
      call('HDEL', keys[NOTES], 'lock:' .. id)
    end
    return 1
  end
  end_expired(keys, key, task, id, fields or {}, history, now)
  call('XACK', stream, group, entry)
  call('XDEL', stream, entry)
  return 2
end

for item = 0, (#ARGV - 2) / 4 - 1 do
  results[item + 1] = begin(KEYS[FIRST_TASK + item], unpack(ARGV, 3 + item * 4, 6 + item * 4))
end
return with_turns(keys, results)

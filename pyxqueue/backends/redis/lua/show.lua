-- Everything that is known about tasks, for people who look.
-- KEYS the five keys of the group, then the task key of each id
-- ARGV group, ids
-- Returns per id: {task hash, flat; message fields; holder; 1 if its record is still readable}, or 0 if it is not known.
local keys, group, now, answers = slice(KEYS, 1, 5), ARGV[1], now_ms(), {}
local places = {live = keys[STREAM], parked = keys[PARKED], history = keys[HISTORY], failed = keys[FAILED]}
for item = 2, #ARGV do
  local id, task = ARGV[item], KEYS[4 + item]
  local all = redis.pcall('HGETALL', task)
  if all.err then all = {} end -- no hash: put there by somebody else
  if #all == 0 and entry_id(id) and read(keys[STREAM], id) then
    all = {'at', 'live', 'e', id}
  end
  local at, entry = field(all, 'at'), field(all, 'e')
  local finished, lives = tonumber(field(all, 'finished')), tonumber(field(all, 'ttl'))
  if not at then
    answers[#answers + 1] = 0
  else
    local pending = at == 'live' and entry and redis.pcall('XPENDING', keys[STREAM], group, entry, entry, 1) or {}
    local held = pending[1] or {}
    local readable = finished and lives and finished + lives > now
    local fields = entry and entry ~= '' and places[at] and read(places[at], entry)
    answers[#answers + 1] = {all, fields or {}, held[2] or '', readable and 1 or 0}
  end
end
return answers

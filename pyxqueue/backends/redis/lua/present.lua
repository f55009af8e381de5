-- Read which supervisors are known.
-- KEYS supervisors, announcements
-- Returns the time in ms, the supervisors with the times at which they were heard of, and what they have said; nothing
-- of them if another program has put something there.
local seen, said = try_call('ZRANGE', KEYS[1], 0, 1000, 'WITHSCORES'), try_call('HGETALL', KEYS[2])
return {int(now_ms()), seen.err and {} or seen, said.err and {} or said}

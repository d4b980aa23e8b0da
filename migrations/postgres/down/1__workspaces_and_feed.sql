-- The way back from V1: forgets every workspace and every feed.

DROP TABLE activity;
DROP TABLE feed_counters;
DROP TABLE workspaces;

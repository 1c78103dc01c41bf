//! Isolates one worker process: create, limit, freeze, kill.

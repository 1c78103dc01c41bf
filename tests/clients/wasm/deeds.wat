;; Does what the first letter of its event, a JSON string, says.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 100) "\22done\22")
  (data (i32.const 120) "{\22errorType\22:\22Own\22,\22errorMessage\22:\22mine\22}")
  (data (i32.const 200) "a line on stderr\0a")
  (data (i32.const 240) "/tmp")
  (data (i32.const 300) "0")

  ;; Writes to a descriptor.
  (func $say (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 12))))

  (func $done (call $say (i32.const 1) (i32.const 100) (i32.const 6)))

  (func $deep (param i32) (result i32)
    (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

  (func $is (param $letter i32) (result i32)
    (i32.eq (i32.load8_u (i32.const 1025)) (local.get $letter)))

  (func (export "_start")
    (local $n i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 1024))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))

    ;; l: loops for ever
    (if (call $is (i32.const 108)) (then (loop $l (br $l))))
    ;; m: asks for memory until there is none, then gives up
    (if (call $is (i32.const 109)) (then
      (loop $m (br_if $m (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      unreachable))
    ;; g: asks for memory until there is none, and lives with it
    (if (call $is (i32.const 103)) (then
      (loop $g (br_if $g (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (return (call $done))))
    ;; s: recursion without end
    (if (call $is (i32.const 115)) (then (drop (call $deep (i32.const 0)))))
    ;; o: output without end
    (if (call $is (i32.const 111)) (then
      (loop $o (call $say (i32.const 1) (i32.const 65536) (i32.const 65536)) (br $o))))
    ;; e: a log without end
    (if (call $is (i32.const 101)) (then
      (loop $e (call $say (i32.const 2) (i32.const 200) (i32.const 17)) (br $e))))
    ;; p: one line in the log
    (if (call $is (i32.const 112)) (then
      (call $say (i32.const 2) (i32.const 200) (i32.const 17))
      (return (call $done))))
    ;; x: status 3
    (if (call $is (i32.const 120)) (then (call $exit (i32.const 3))))
    ;; z: status 0 before the end
    (if (call $is (i32.const 122)) (then (call $done) (call $exit (i32.const 0))))
    ;; h: an error of its own
    (if (call $is (i32.const 104)) (then
      (call $say (i32.const 1) (i32.const 120) (i32.const 41))
      (call $exit (i32.const 1))))
    ;; t: a trap
    (if (call $is (i32.const 116)) (then unreachable))
    ;; k: counts its calls, if anything is left of the one before
    (if (call $is (i32.const 107)) (then
      (i32.store8 (i32.const 300) (i32.add (i32.load8_u (i32.const 300)) (i32.const 1)))
      (return (call $say (i32.const 1) (i32.const 300) (i32.const 1)))))
    ;; b: 64 MiB more
    (if (call $is (i32.const 98)) (then
      (drop (memory.grow (i32.const 1024)))
      (return (call $done))))
    ;; n: its variables, with a NUL after each
    (if (call $is (i32.const 110)) (then
      (drop (call $environ_sizes (i32.const 16) (i32.const 20)))
      (drop (call $environ (i32.const 65536) (i32.const 131072)))
      (return (call $say (i32.const 1) (i32.const 131072) (i32.load (i32.const 20))))))
    ;; w: waits a second
    (if (call $is (i32.const 119)) (then
      (i64.store (i32.const 400) (i64.const 7))
      (i32.store8 (i32.const 408) (i32.const 0))
      (i32.store (i32.const 416) (i32.const 1))
      (i64.store (i32.const 424) (i64.const 1000000000))
      (i64.store (i32.const 432) (i64.const 1))
      (i32.store16 (i32.const 440) (i32.const 0))
      (drop (call $poll (i32.const 400) (i32.const 512) (i32.const 1) (i32.const 12)))
      (return (call $done))))
    ;; f: opens a folder; the answer is the error's number, as a letter from A on
    (if (call $is (i32.const 102)) (then
      (local.set $n (call $open (i32.const 3) (i32.const 0) (i32.const 240) (i32.const 4) (i32.const 0)
        (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 12)))
      (i32.store8 (i32.const 101) (i32.add (local.get $n) (i32.const 65)))
      (i32.store8 (i32.const 102) (i32.const 34))
      (return (call $say (i32.const 1) (i32.const 100) (i32.const 3)))))
    ;; r: sixteen random bytes
    (if (call $is (i32.const 114)) (then
      (drop (call $random (i32.const 600) (i32.const 16)))
      (return (call $say (i32.const 1) (i32.const 600) (i32.const 16)))))
    (call $done)))

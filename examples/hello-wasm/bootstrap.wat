;; A function in WebAssembly's text form: reads its event on stdin, writes its answer on stdout, and what it logs on stderr.
;; Real functions come from a compiler, as `main.c` beside does; this one needs none.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)

  ;; 0: an address and a length, for reads and writes; 64: how many bytes were read or written.
  (data (i32.const 128) "\22name\22:\22")
  (data (i32.const 144) "{\22statusCode\22:200,\22headers\22:{\22content-type\22:\22text/plain\22},\22body\22:\22Hello, ")
  (data (i32.const 256) "!\\n\22}")
  (data (i32.const 272) "greeting \0a")
  (data (i32.const 288) "world")
  (global $event i32 (i32.const 1024))
  (global $most i32 (i32.const 120000))

  (func $piece (param $at i32) (param $address i32) (param $length i32)
    (i32.store (local.get $at) (local.get $address))
    (i32.store offset=4 (local.get $at) (local.get $length)))

  ;; A write may take less than it is given.
  (func $write_all (param $fd i32) (param $address i32) (param $length i32)
    (loop $more
      (call $piece (i32.const 0) (local.get $address) (local.get $length))
      (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 64)))
      (local.set $address (i32.add (local.get $address) (i32.load (i32.const 64))))
      (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 64))))
      (br_if $more (local.get $length))))

  ;; Reads the event; the end of it.
  (func $receive (result i32)
    (local $end i32)
    (local.set $end (global.get $event))
    (loop $more
      (call $piece (i32.const 0) (local.get $end)
        (i32.sub (i32.add (global.get $event) (global.get $most)) (local.get $end)))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64)))
      (local.set $end (i32.add (local.get $end) (i32.load (i32.const 64))))
      (br_if $more (i32.and
        (i32.ne (i32.load (i32.const 64)) (i32.const 0))
        (i32.lt_u (local.get $end) (i32.add (global.get $event) (global.get $most))))))
    (local.get $end))

  (func (export "_start")
    (local $at i32) (local $end i32) (local $name i32) (local $length i32)
    (local.set $end (call $receive))
    (local.set $name (i32.const 288))
    (local.set $length (i32.const 5))
    (local.set $at (global.get $event))
    ;; The text after `"name":"`, as API Gateway writes the event's path parameters, up to the next quote.
    (block $found
      (loop $next
        (br_if $found (i32.ge_u (i32.add (local.get $at) (i32.const 8)) (local.get $end)))
        (if (i64.eq (i64.load (local.get $at)) (i64.load (i32.const 128))) (then
          (local.set $name (i32.add (local.get $at) (i32.const 8)))
          (local.set $length (i32.const 0))
          (loop $letter
            (br_if $found (i32.eq (i32.load8_u (i32.add (local.get $name) (local.get $length))) (i32.const 34)))
            (br_if $found (i32.ge_u (i32.add (local.get $name) (local.get $length)) (local.get $end)))
            (local.set $length (i32.add (local.get $length) (i32.const 1)))
            (br $letter))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (call $write_all (i32.const 2) (i32.const 272) (i32.const 9))
    (call $write_all (i32.const 2) (local.get $name) (local.get $length))
    (call $write_all (i32.const 2) (i32.const 281) (i32.const 1))
    (call $write_all (i32.const 1) (i32.const 144) (i32.const 73))
    (call $write_all (i32.const 1) (local.get $name) (local.get $length))
    (call $write_all (i32.const 1) (i32.const 256) (i32.const 5))))

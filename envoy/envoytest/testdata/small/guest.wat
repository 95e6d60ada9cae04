;; The guest of ../guest without a language's runtime: what it does is the same, and Envoy has it compiled in a moment. SmallGuest assembles it.
;;
;; Memory, in bytes:
;;      0  what host calls give: a pointer, 4 its size, 8 a metric, 12 and 16 how many variables there are and their size
;;   1024  constants
;;   4096  the names of three headers, of at most 256 bytes each, and of the metric
;;   8192  for each plugin its context, its configuration's place and size, and its metric: 1,024 of 16 bytes
;;  65536  for each stream its plugin's place, by the last 16 bits of its context: 65,536 of 4 bytes
;; 327680  what is allocated; nothing is given back
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment_metric (param i32 i64) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))

  (memory 8)
  (export "memory" (memory 0))

  (global $free (mut i32) (i32.const 327680))
  (global $plugins (mut i32) (i32.const 8192)) ;; where the next one goes
  (global $name (mut i32) (i32.const 0))       ;; the length of x-FILTER
  (global $metric (mut i32) (i32.const 0))     ;; the length of the metric's name
  (global $policy (mut i32) (i32.const 0))     ;; where it is

  (data (i32.const 1024) "flavour=plain") ;; BuildGuest replaces it
  (data (i32.const 1088) "WAFT_FILTER=")
  (data (i32.const 1152) "WAFT_FAILURE_POLICY=")
  (data (i32.const 1216) "x-")
  (data (i32.const 1280) "-flavour")
  (data (i32.const 1344) "-policy")
  (data (i32.const 1408) "waft.requests.")
  (data (i32.const 1472) "x-canary")
  (data (i32.const 1536) "x-request-id")
  (data (i32.const 1600) "tampered1")
  (data (i32.const 1664) "the guest refuses its configuration")
  (data (i32.const 1728) "the guest refuses the configuration ")
  (data (i32.const 1792) "the guest panics on purpose")
  (data (i32.const 1856) "the guest panics in a request on purpose")
  (data (i32.const 1920) "failed on purpose\n")
  (data (i32.const 1984) "denied on purpose\n")
  (data (i32.const 2048) "refuse")
  (data (i32.const 2112) "panic")
  (data (i32.const 2176) "loop")
  (data (i32.const 2240) "hog")
  (data (i32.const 2304) "gossip")
  (data (i32.const 2368) "fail")
  (data (i32.const 2432) "deny")
  (data (i32.const 2496) "tamper")
  (data (i32.const 2560) "trap")
  (data (i32.const 2624) "pause")
  (data (i32.const 2688) "hang")

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "_initialize"))

  (func $allocate (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)
    global.get $free
    local.tee $at
    local.get $size
    i32.add
    i32.const 7
    i32.add
    i32.const -8
    i32.and
    global.set $free
    loop $more
      global.get $free
      memory.size
      i32.const 16
      i32.shl
      i32.gt_u
      if
        i32.const 1
        memory.grow
        i32.const -1
        i32.eq
        if
          unreachable
        end
        br $more
      end
    end
    local.get $at)

  (func $equal (param $a i32) (param $b i32) (param $size i32) (result i32)
    loop $next
      local.get $size
      i32.eqz
      if
        i32.const 1
        return
      end
      local.get $a
      i32.load8_u
      local.get $b
      i32.load8_u
      i32.ne
      if
        i32.const 0
        return
      end
      local.get $a
      i32.const 1
      i32.add
      local.set $a
      local.get $b
      i32.const 1
      i32.add
      local.set $b
      local.get $size
      i32.const 1
      i32.sub
      local.set $size
      br $next
    end
    unreachable)

  ;; What lies at $from is copied; the place behind the copy is given.
  (func $copy (param $to i32) (param $from i32) (param $size i32) (result i32)
    loop $next
      local.get $size
      i32.eqz
      if
        local.get $to
        return
      end
      local.get $to
      local.get $from
      i32.load8_u
      i32.store8
      local.get $to
      i32.const 1
      i32.add
      local.set $to
      local.get $from
      i32.const 1
      i32.add
      local.set $from
      local.get $size
      i32.const 1
      i32.sub
      local.set $size
      br $next
    end
    unreachable)

  ;; The length of a text that a zero ends.
  (func $length (param $text i32) (result i32) (local $size i32)
    loop $next
      local.get $text
      local.get $size
      i32.add
      i32.load8_u
      i32.eqz
      if
        local.get $size
        return
      end
      local.get $size
      i32.const 1
      i32.add
      local.set $size
      br $next
    end
    unreachable)

  ;; The value of a variable, whose name ends with its equals sign; 0, where a zero is for that, if there is none.
  (func $variable (param $variables i32) (param $name i32) (param $size i32) (result i32) (local $count i32)
    i32.const 12
    i32.load
    local.set $count
    loop $next
      local.get $count
      i32.eqz
      if
        i32.const 20
        return
      end
      local.get $variables
      i32.load
      local.get $name
      local.get $size
      call $equal
      if
        local.get $variables
        i32.load
        local.get $size
        i32.add
        return
      end
      local.get $variables
      i32.const 4
      i32.add
      local.set $variables
      local.get $count
      i32.const 1
      i32.sub
      local.set $count
      br $next
    end
    unreachable)

  ;; Writes the names that hold the filter's.
  (func $names (local $variables i32) (local $filter i32) (local $size i32)
    i32.const 12
    i32.const 16
    call $environ_sizes_get
    drop
    i32.const 12
    i32.load
    i32.const 2
    i32.shl
    call $allocate
    local.tee $variables
    i32.const 16
    i32.load
    call $allocate
    call $environ_get
    drop
    local.get $variables
    i32.const 1152
    i32.const 20
    call $variable
    global.set $policy
    local.get $variables
    i32.const 1088
    i32.const 12
    call $variable
    local.tee $filter
    call $length
    local.set $size
    i32.const 4096
    i32.const 1216
    i32.const 2
    call $copy
    local.get $filter
    local.get $size
    call $copy
    i32.const 4096
    i32.sub
    global.set $name
    i32.const 4352
    i32.const 4096
    global.get $name
    call $copy
    i32.const 1280
    i32.const 8
    call $copy
    drop
    i32.const 4608
    i32.const 4096
    global.get $name
    call $copy
    i32.const 1344
    i32.const 7
    call $copy
    drop
    i32.const 4864
    i32.const 1408
    i32.const 14
    call $copy
    local.get $filter
    local.get $size
    call $copy
    i32.const 4864
    i32.sub
    global.set $metric)

  ;; Where a plugin is kept.
  (func $plugin (param $context i32) (result i32) (local $at i32)
    i32.const 8192
    local.set $at
    loop $next
      local.get $at
      i32.load
      local.get $context
      i32.eq
      if
        local.get $at
        return
      end
      local.get $at
      i32.const 16
      i32.add
      local.tee $at
      i32.const 24576
      i32.lt_u
      br_if $next
    end
    unreachable)

  ;; Where the place of a stream's plugin is kept.
  (func $stream (param $context i32) (result i32)
    local.get $context
    i32.const 65535
    i32.and
    i32.const 2
    i32.shl
    i32.const 65536
    i32.add)

  ;; Whether a plugin is configured with a word.
  (func $is (param $plugin i32) (param $word i32) (param $size i32) (result i32)
    local.get $plugin
    i32.load offset=8
    local.get $size
    i32.ne
    if
      i32.const 0
      return
    end
    local.get $plugin
    i32.load offset=4
    local.get $word
    local.get $size
    call $equal)

  (func $critical (param $text i32) (param $size i32)
    i32.const 5
    local.get $text
    local.get $size
    call $log
    drop)

  (func (export "proxy_on_context_create") (param $context i32) (param $parent i32)
    local.get $parent
    i32.eqz
    if
      global.get $plugins
      local.get $context
      i32.store
      global.get $plugins
      i32.const 16
      i32.add
      global.set $plugins
      global.get $plugins
      i32.const 24576
      i32.eq
      if
        i32.const 8192
        global.set $plugins
      end
      return
    end
    local.get $context
    call $stream
    local.get $parent
    call $plugin
    i32.store)

  (func (export "proxy_on_configure") (param $context i32) (param $size i32) (result i32) (local $plugin i32) (local $text i32)
    call $names
    local.get $size
    if
      i32.const 7 ;; the plugin's configuration
      i32.const 0
      local.get $size
      i32.const 0
      i32.const 4
      call $get_buffer
      if
        i32.const 0
        local.set $size
      else
        i32.const 0
        i32.load
        local.set $text
        i32.const 4
        i32.load
        local.set $size
      end
    end
    ;; Without the quotes of JSON.
    local.get $size
    if
      local.get $text
      i32.load8_u
      i32.const 34
      i32.eq
      if
        local.get $text
        i32.const 1
        i32.add
        local.set $text
        local.get $size
        i32.const 1
        i32.sub
        local.set $size
      end
    end
    local.get $size
    if
      local.get $text
      local.get $size
      i32.add
      i32.const 1
      i32.sub
      i32.load8_u
      i32.const 34
      i32.eq
      if
        local.get $size
        i32.const 1
        i32.sub
        local.set $size
      end
    end
    local.get $context
    call $plugin
    local.tee $plugin
    local.get $text
    i32.store offset=4
    local.get $plugin
    local.get $size
    i32.store offset=8

    local.get $size
    i32.const 6
    i32.ge_u
    if
      local.get $text
      i32.const 2304
      i32.const 6
      call $equal
      if
        local.get $size
        i32.const 36
        i32.add
        call $allocate
        local.tee $context
        i32.const 1728
        i32.const 36
        call $copy
        local.get $text
        local.get $size
        call $copy
        drop
        local.get $context
        local.get $size
        i32.const 36
        i32.add
        call $critical
        i32.const 0
        return
      end
    end
    local.get $plugin
    i32.const 2048
    i32.const 6
    call $is
    if
      i32.const 1664
      i32.const 35
      call $critical
      i32.const 0
      return
    end
    local.get $plugin
    i32.const 2112
    i32.const 5
    call $is
    if
      i32.const 1792
      i32.const 27
      call $critical
      unreachable
    end
    local.get $plugin
    i32.const 2176
    i32.const 4
    call $is
    if
      loop $for_ever
        br $for_ever
      end
    end
    local.get $plugin
    i32.const 2240
    i32.const 3
    call $is
    if
      call $hog
    end
    i32.const 0 ;; a counter
    i32.const 4864
    global.get $metric
    i32.const 8
    call $define_metric
    drop
    local.get $plugin
    i32.const 8
    i32.load
    i32.store offset=12
    i32.const 1)

  ;; Takes 2 GiB, and writes to each page of it.
  (func $hog (local $at i32) (local $size i32) (local $pages i32)
    i32.const 2048
    local.set $pages
    loop $next
      i32.const 1048576
      call $allocate
      local.set $at
      i32.const 256
      local.set $size
      loop $page
        local.get $at
        i32.const 1
        i32.store8
        local.get $at
        i32.const 4096
        i32.add
        local.set $at
        local.get $size
        i32.const 1
        i32.sub
        local.tee $size
        br_if $page
      end
      local.get $pages
      i32.const 1
      i32.sub
      local.tee $pages
      br_if $next
    end)

  (func (export "proxy_on_request_headers") (param $context i32) (param $count i32) (param $end i32) (result i32) (local $plugin i32)
    local.get $context
    call $stream
    i32.load
    local.tee $plugin
    i32.load offset=12
    i64.const 1
    call $increment_metric
    drop
    local.get $plugin
    i32.const 2368
    i32.const 4
    call $is
    if
      i32.const 503
      i32.const 1920
      call $answer
      i32.const 1
      return
    end
    local.get $plugin
    i32.const 2432
    i32.const 4
    call $is
    if
      i32.const 403
      i32.const 1984
      call $answer
      i32.const 1
      return
    end
    local.get $plugin
    i32.const 2496
    i32.const 6
    call $is
    if
      call $tamper
    end
    local.get $plugin
    i32.const 2560
    i32.const 4
    call $is
    if
      i32.const 1856
      i32.const 40
      call $critical
      unreachable
    end
    local.get $plugin
    i32.const 2688
    i32.const 4
    call $is
    if
      loop $for_ever
        br $for_ever
      end
    end
    ;; 1 has the request wait.
    local.get $plugin
    i32.const 2624
    i32.const 5
    call $is)

  (func $answer (param $status i32) (param $body i32)
    local.get $status
    i32.const 0
    i32.const 0
    local.get $body
    i32.const 18
    i32.const 0
    i32.const 0
    i32.const -1
    call $reply
    drop)

  ;; What a cohort is chosen by is not what it was, for the filters behind.
  (func $tamper
    i32.const 0
    i32.const 1472
    i32.const 8
    i32.const 0
    i32.const 4
    call $get_header
    if
      i32.const 0
      i32.const 1472
      i32.const 8
      i32.const 1608
      i32.const 1
      call $add_header
      drop
    else
      i32.const 0
      i32.const 1472
      i32.const 8
      call $remove_header
      drop
    end
    i32.const 0
    i32.const 1536
    i32.const 12
    i32.const 1600
    i32.const 8
    call $replace_header
    drop)

  (func (export "proxy_on_response_headers") (param $context i32) (param $count i32) (param $end i32) (result i32) (local $plugin i32)
    local.get $context
    call $stream
    i32.load
    local.set $plugin
    i32.const 2 ;; the response's headers
    i32.const 4096
    global.get $name
    local.get $plugin
    i32.load offset=4
    local.get $plugin
    i32.load offset=8
    call $add_header
    drop
    i32.const 2
    i32.const 4352
    global.get $name
    i32.const 8
    i32.add
    i32.const 1032 ;; behind "flavour="
    i32.const 5
    call $add_header
    drop
    i32.const 2
    i32.const 4608
    global.get $name
    i32.const 7
    i32.add
    global.get $policy
    global.get $policy
    call $length
    call $add_header
    drop
    i32.const 0))

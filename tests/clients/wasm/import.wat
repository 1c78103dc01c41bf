;; Imports what there is not.
(module (import "env" "print" (func)) (func (export "_start")))

/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * bool near__catch(void (*f)(void)): calls f; true when it threw a C++ exception, which is swallowed.
 *
 * This is  try { f(); return false; } catch (...) { return true; }  with every reference to the C++ run-time
 * library weak: in a process without it nothing can be thrown, and the null personality is skipped when a thread
 * is unwound. Layout of the table: Itanium C++ ABI, "Exception Handling Tables".
 */
	.weak	__gxx_personality_v0
	.weak	__cxa_begin_catch
	.weak	__cxa_end_catch

	.text
	.globl	near__catch
	.hidden	near__catch
	.type	near__catch, %function
	.p2align 4
near__catch:
	.cfi_startproc
	.cfi_personality 0x9b, near__personality
	.cfi_lsda 0x1b, .Ltable
#if defined(__x86_64__)
	sub	$8, %rsp
	.cfi_adjust_cfa_offset 8
.Lcall:
	call	*%rdi
.Lcalled:
	xor	%eax, %eax
	add	$8, %rsp
	.cfi_remember_state
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_restore_state
.Lcaught:
	mov	%rax, %rdi
	call	__cxa_begin_catch@PLT
	call	__cxa_end_catch@PLT
	mov	$1, %eax
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
#elif defined(__aarch64__)
	stp	x29, x30, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset 29, -16
	.cfi_offset 30, -8
	mov	x29, sp
.Lcall:
	blr	x0
.Lcalled:
	mov	w0, #0
	ldp	x29, x30, [sp], #16
	.cfi_remember_state
	.cfi_restore 29
	.cfi_restore 30
	.cfi_def_cfa_offset 0
	ret
	.cfi_restore_state
.Lcaught:
	bl	__cxa_begin_catch
	bl	__cxa_end_catch
	mov	w0, #1
	ldp	x29, x30, [sp], #16
	.cfi_restore 29
	.cfi_restore 30
	.cfi_def_cfa_offset 0
	ret
#else
#error "near__catch needs writing for this architecture"
#endif
	.cfi_endproc
	.size	near__catch, . - near__catch

	.section .gcc_except_table, "a", %progbits
	.p2align 2
.Ltable:
	.byte	0xff			/* landing pads count from the start of the function */
	.byte	0x03			/* type table: 4-byte absolute, only ever 0 here */
	.uleb128 .Ltypes - .Lbase
.Lbase:
	.byte	0x01			/* call sites: uleb128 */
	.uleb128 .Lsites_end - .Lsites
.Lsites:
	.uleb128 .Lcall - near__catch
	.uleb128 .Lcalled - .Lcall
	.uleb128 .Lcaught - near__catch
	.uleb128 1			/* first action */
	.uleb128 .Lcalled - near__catch
	.uleb128 .Lend - .Lcalled
	.uleb128 0			/* no landing pad */
	.uleb128 0
.Lsites_end:
	.byte	1			/* action: type 1, */
	.byte	0			/* and no further one */
	.p2align 2
	.long	0			/* type 1: anything */
.Ltypes:

	.section .data.rel.near__personality, "aw", %progbits
	.p2align 3
near__personality:
	.quad	__gxx_personality_v0

	.text
.Lend:
	.section .note.GNU-stack, "", %progbits

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linuxboot.S - an option ROM that boots the kernel of -kernel: the BIOS finds a bootable entry in
 * its expansion header, which reads set-up code, command line, kernel and initial RAM disk from
 * fw_cfg by DMA and jumps to the set-up code (Linux x86 boot protocol, 2.x).
 */
    .code16
    .text
rom:
    .word 0xaa55
    .byte 2                 /* KiB */
    lret                    /* nothing to initialise; the BIOS asks for the expansion header */
    .org 0x18
    .word 0
    .word pnp - rom
pnp:
    .ascii "$PnP"
    .byte 1, 2              /* revision, length / 16 */
    .word 0                 /* no next header */
    .byte 0, 0              /* checksum: filled in by the build */
    .long 0
    .word 0
    .word product - rom
    .byte 0, 0x80, 0        /* class: initial program load device */
    .byte 0xe4
    .word 0, 0
    .word boot - rom        /* bootstrap entry vector */
    .word 0, 0
product:
    .asciz "Linux"

/* Reads item %ax whole: size from item %bx, to the address in item %cx. */
load:
    pushw %ax
    movw %bx, %ax
    call read_long          /* %edi: size */
    movl %edi, %esi
    movw %cx, %ax
    call read_long          /* %edi: address */
    popw %ax
    testl %esi, %esi
    jz 1f
    call dma
1:  ret

read_long:
    pushl %esi
    movl $4, %esi
    xorl %edi, %edi
    movw %ss, %di
    shll $4, %edi
    addl $value, %edi       /* a linear address on the stack segment */
    call dma
    movl %ss:value, %edi
    popl %esi
    ret

/* Selects item %ax, reads %esi bytes to the linear address %edi. */
dma:
    pushal
    movzwl %ax, %eax
    shll $16, %eax
    orl $0x0a, %eax         /* select and read */
    bswapl %eax
    movl %eax, %ss:control
    movl %esi, %eax
    bswapl %eax
    movl %eax, %ss:control + 4
    movl $0, %ss:control + 8
    movl %edi, %eax
    bswapl %eax
    movl %eax, %ss:control + 12
    xorl %eax, %eax
    movw %ss, %ax
    shll $4, %eax
    addl $control, %eax
    bswapl %eax
    movw $0x518, %dx
    outl %eax, %dx          /* starts it */
1:  movl %ss:control, %eax
    bswapl %eax
    andl $0xfffffffe, %eax
    jnz 1b
    popal
    ret

boot:
    cli
    cld
    movw $0x2000, %ax       /* a stack and scratch space above the command line's page */
    movw %ax, %ss
    movw $0xf000, %sp
    movw $0x18, %ax
    movw $0x17, %bx
    movw $0x16, %cx
    call load               /* set-up code */
    movw $0x15, %ax
    movw $0x14, %bx
    movw $0x13, %cx
    call load               /* command line */
    movw $0x11, %ax
    movw $0x08, %bx
    movw $0x07, %cx
    call load               /* kernel */
    movw $0x12, %ax
    movw $0x0b, %bx
    movw $0x0a, %cx
    call load               /* initial RAM disk */
    movw $0x1000, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movw $0xfff0, %sp
    pushw $0x1020
    pushw $0
    lret

    .set control, 0xf100    /* offsets on the stack segment */
    .set value, 0xf120
    .org 0x3ff
    .byte 0

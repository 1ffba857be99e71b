/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target.c - registers in the order of gdb's amd64 description: core, x87, SSE. */
#include "vmm/gdb/target.h"

#include "base/bytes.h"
#include "vmm/accel/vcpu.h"
#include "vmm/machine/machine.h"

#include <string.h>

enum { RIP = 16, EFLAGS = 17, FIRST_SEGMENT = 18, FIRST_ST = 24, FIRST_FPU = 32, FIRST_XMM = 40,
       MXCSR = 56, PAGE = 4096 };

static const char xml_text[] =
    "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
    "<target version=\"1.0\"><architecture>i386:x86-64</architecture>"
    "<feature name=\"org.gnu.gdb.i386.core\">"
#define R64(n) "<reg name=\"" n "\" bitsize=\"64\" type=\"int64\"/>"
#define R32(n) "<reg name=\"" n "\" bitsize=\"32\" type=\"int32\"/>"
#define ST(n) "<reg name=\"st" n "\" bitsize=\"80\" type=\"i387_ext\"/>"
#define F32(n) "<reg name=\"" n "\" bitsize=\"32\" type=\"int\" group=\"float\"/>"
#define XMM(n) "<reg name=\"xmm" n "\" bitsize=\"128\" type=\"vec128\"/>"
    R64("rax") R64("rbx") R64("rcx") R64("rdx") R64("rsi") R64("rdi")
    "<reg name=\"rbp\" bitsize=\"64\" type=\"data_ptr\"/>"
    "<reg name=\"rsp\" bitsize=\"64\" type=\"data_ptr\"/>"
    R64("r8") R64("r9") R64("r10") R64("r11") R64("r12") R64("r13") R64("r14") R64("r15")
    "<reg name=\"rip\" bitsize=\"64\" type=\"code_ptr\"/>"
    R32("eflags") R32("cs") R32("ss") R32("ds") R32("es") R32("fs") R32("gs")
    ST("0") ST("1") ST("2") ST("3") ST("4") ST("5") ST("6") ST("7")
    F32("fctrl") F32("fstat") F32("ftag") F32("fiseg") F32("fioff") F32("foseg") F32("fooff")
    F32("fop") "</feature><feature name=\"org.gnu.gdb.i386.sse\">"
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>"
    XMM("0") XMM("1") XMM("2") XMM("3") XMM("4") XMM("5") XMM("6") XMM("7") XMM("8") XMM("9")
    XMM("10") XMM("11") XMM("12") XMM("13") XMM("14") XMM("15")
    "<reg name=\"mxcsr\" bitsize=\"32\" type=\"int\" group=\"vector\"/></feature></target>";

const char *gdb_target_xml(void)
{
    return xml_text;
}

struct state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
};

static bool read_state(struct vcpu *v, struct state *s)
{
    memset(s, 0, sizeof(*s));
    return vcpu_request(v, KVM_GET_REGS, &s->regs) >= 0 &&
           vcpu_request(v, KVM_GET_SREGS, &s->sregs) >= 0 &&
           vcpu_request(v, KVM_GET_FPU, &s->fpu) >= 0;
}

/* General registers in gdb's order. */
static __u64 *general(struct kvm_regs *r, unsigned n)
{
    __u64 *const order[] = { &r->rax, &r->rbx, &r->rcx, &r->rdx, &r->rsi, &r->rdi,
                             &r->rbp, &r->rsp, &r->r8,  &r->r9,  &r->r10, &r->r11,
                             &r->r12, &r->r13, &r->r14, &r->r15, &r->rip, &r->rflags };

    return order[n];
}

static const struct kvm_segment *segment(const struct kvm_sregs *s, unsigned n)
{
    const struct kvm_segment *const order[] = { &s->cs, &s->ss, &s->ds, &s->es, &s->fs, &s->gs };

    return order[n];
}

/* One of fctrl to fop. The tag word is the full one (SDM 1, 8.1.7). */
static uint32_t fpu_word(const struct kvm_fpu *f, unsigned n)
{
    uint32_t tags = 0;

    switch (n) {
    case 0:
        return f->fcw;
    case 1:
        return f->fsw;
    case 2:
        for (unsigned i = 0; i < 8; i++) {
            tags |= (f->ftwx >> i & 1) != 0 ? 0 : 3u << (i * 2);
        }
        return tags;
    case 4:
        return (uint32_t)f->last_ip;
    case 6:
        return (uint32_t)f->last_dp;
    case 7:
        return f->last_opcode;
    default:
        return 0;
    }
}

static size_t put(struct state *s, unsigned n, uint8_t *to)
{
    if (n < EFLAGS) {
        le64_put(to, *general(&s->regs, n));
        return 8;
    }
    if (n == EFLAGS) {
        le32_put(to, (uint32_t)s->regs.rflags);
        return 4;
    }
    if (n < FIRST_ST) {
        le32_put(to, segment(&s->sregs, n - FIRST_SEGMENT)->selector);
        return 4;
    }
    if (n < FIRST_FPU) {
        memcpy(to, s->fpu.fpr[n - FIRST_ST], 10);
        return 10;
    }
    if (n < FIRST_XMM) {
        le32_put(to, fpu_word(&s->fpu, n - FIRST_FPU));
        return 4;
    }
    if (n < MXCSR) {
        memcpy(to, s->fpu.xmm[n - FIRST_XMM], 16);
        return 16;
    }
    if (n == MXCSR) {
        le32_put(to, s->fpu.mxcsr);
        return 4;
    }
    return 0;
}

/* Segments and the words of the FPU are left alone: their hidden parts are not gdb's. */
static size_t take(struct state *s, unsigned n, const uint8_t *from, size_t have)
{
    uint8_t old[16];
    size_t len = put(s, n, old);

    if (len == 0 || have < len) {
        return 0;
    }
    if (n < EFLAGS) {
        *general(&s->regs, n) = le64_get(from);
    } else if (n == EFLAGS) {
        s->regs.rflags = (s->regs.rflags & ~0xffffffffull) | le32_get(from);
    } else if (n >= FIRST_ST && n < FIRST_FPU) {
        memcpy(s->fpu.fpr[n - FIRST_ST], from, 10);
    } else if (n >= FIRST_XMM && n < MXCSR) {
        memcpy(s->fpu.xmm[n - FIRST_XMM], from, 16);
    } else if (n == MXCSR) {
        s->fpu.mxcsr = le32_get(from);
    }
    return len;
}

static bool write_state(struct vcpu *v, struct state *s)
{
    return vcpu_request(v, KVM_SET_REGS, &s->regs) >= 0 &&
           vcpu_request(v, KVM_SET_FPU, &s->fpu) >= 0;
}

size_t gdb_get_registers(struct vcpu *v, uint8_t buf[GDB_ALL_BYTES])
{
    struct state s;
    size_t len = 0;

    if (!read_state(v, &s)) {
        return 0;
    }
    for (unsigned n = 0; n < GDB_N_REGS; n++) {
        len += put(&s, n, buf + len);
    }
    return len;
}

size_t gdb_get_register(struct vcpu *v, unsigned n, uint8_t buf[16])
{
    struct state s;

    return n < GDB_N_REGS && read_state(v, &s) ? put(&s, n, buf) : 0;
}

bool gdb_set_registers(struct vcpu *v, const uint8_t *buf, size_t len)
{
    struct state s;
    size_t at = 0;

    if (!read_state(v, &s)) {
        return false;
    }
    for (unsigned n = 0; n < GDB_N_REGS; n++) {
        size_t part = take(&s, n, buf + at, len - at);

        if (part == 0) {
            break;
        }
        at += part;
    }
    return write_state(v, &s);
}

bool gdb_set_register(struct vcpu *v, unsigned n, const uint8_t *buf, size_t len)
{
    struct state s;

    return n < GDB_N_REGS && read_state(v, &s) && take(&s, n, buf, len) > 0 && write_state(v, &s);
}

bool gdb_memory(struct vcpu *v, uint64_t at, uint8_t *buf, size_t len, bool write)
{
    while (len > 0) {
        struct kvm_translation tr = { .linear_address = at };
        size_t part = min_u64(PAGE - at % PAGE, len);
        int r;

        if (vcpu_request(v, KVM_TRANSLATE, &tr) < 0 || !tr.valid) {
            return false;
        }
        r = write ? gmem_write(&v->m->mem, tr.physical_address, buf, part)
                  : gmem_read(&v->m->mem, tr.physical_address, buf, part);
        if (r < 0) {
            return false;
        }
        at += part;
        buf += part;
        len -= part;
    }
    return true;
}

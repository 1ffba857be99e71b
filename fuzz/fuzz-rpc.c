/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz-rpc.c - a message's header, then the arguments of the procedure it names; what was read is
 * written again. */
#include "rpc/frame.h"
#include "rpc/protocol/admin.h"
#include "rpc/protocol/qemu.h"
#include "rpc/protocol/remote.h"

enum { ARENA_MAX = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void codec(const struct rpc_codec *c, struct xdr_in in)
{
    struct arena a = ARENA_INIT(ARENA_MAX);
    void *v = c->size > 0 ? arena_alloc(&a, c->size) : NULL;

    if (v != NULL) {
        c->get(&in, &a, v);
        if (!in.failed) {
            struct xdr_out out;

            xdr_out_init(&out, RPC_MESSAGE_MAX);
            c->put(&out, v);
            xdr_out_done(&out);
        }
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rpc_program *const programs[] = { &remote_program, &qemu_program,
                                                          &admin_program };
    struct xdr_in in = xdr_in_of(data, size);
    struct rpc_header h;
    size_t len;

    if (size >= RPC_LEN_BYTES) {
        (void)rpc_frame_length(data, &len);
    }
    if (!rpc_header_get(&in, &h)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        unsigned proc = (unsigned)h.proc % programs[i]->n_procs;

        if (programs[i]->procs[proc].name != NULL) {
            codec(&programs[i]->procs[proc].args, in);
            codec(&programs[i]->procs[proc].ret, in);
        }
    }
    return 0;
}

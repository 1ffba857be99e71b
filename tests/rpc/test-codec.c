/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rpc/protocol/remote.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

/* Golden bytes: connect_open("qemu:///system", 0) as virsh sends it. */
static void connect_open_is_what_virsh_sends(void **state)
{
    static const uint8_t wire[] = { 0,   0,   0,   1,   0,   0,   0,   14,  'q', 'e',
                                    'm', 'u', ':', '/', '/', '/', 's', 'y', 's', 't',
                                    'e', 'm', 0,   0,   0,   0,   0,   0 };
    char uri[] = "qemu:///system";
    struct remote_connect_open_args args = { .name = uri };
    struct remote_connect_open_args back;
    struct arena a = ARENA_INIT(4096);
    struct xdr_out x;
    struct xdr_in in;

    (void)state;
    xdr_out_init(&x, 4096);
    put_remote_connect_open_args(&x, &args);
    assert_int_equal(x.len, sizeof(wire));
    assert_memory_equal(x.buf, wire, sizeof(wire));
    in = xdr_in_of(x.buf, x.len);
    get_remote_connect_open_args(&in, &a, &back);
    assert_false(in.failed);
    assert_string_equal(back.name, uri);
    arena_done(&a);
    xdr_out_done(&x);
}

static void lists_and_options_round_trip(void **state)
{
    char name[] = "vm";
    char field[] = "state.state";
    struct rpc_typed_param param = { .field = field, .kind = RPC_TYPED_INT, .value.i = -5 };
    struct remote_domain_stats_record record = { .dom = { .name = name, .id = -1 },
                                                 .n_params = 1,
                                                 .params = &param };
    struct remote_connect_get_all_domain_stats_ret ret = { .n_retStats = 1, .retStats = &record };
    struct remote_connect_get_all_domain_stats_ret back = { .n_retStats = 0 };
    struct arena a = ARENA_INIT(1 << 20);
    struct xdr_out x;
    struct xdr_in in;

    (void)state;
    xdr_out_init(&x, 4096);
    put_remote_connect_get_all_domain_stats_ret(&x, &ret);
    assert_false(x.failed);
    for (size_t cut = 0; cut < x.len; cut++) {
        in = xdr_in_of(x.buf, cut);
        get_remote_connect_get_all_domain_stats_ret(&in, &a, &back);
        assert_true(in.failed); /* every prefix is refused */
    }
    in = xdr_in_of(x.buf, x.len);
    get_remote_connect_get_all_domain_stats_ret(&in, &a, &back);
    assert_false(in.failed);
    assert_int_equal(back.retStats[0].params[0].value.i, -5);
    assert_string_equal(back.retStats[0].dom.name, "vm");
    arena_done(&a);
    xdr_out_done(&x);
}

static void table_knows_its_procedures(void **state)
{
    const struct rpc_proc *p = &remote_program.procs[REMOTE_DOMAIN_DESTROY];

    (void)state;
    assert_string_equal(p->name, "domain_destroy");
    assert_int_equal(p->flags, RPC_HIGH | RPC_WRITE);
    assert_string_equal(p->acl[0], "domain:stop");
    assert_int_equal(remote_program.n_procs, 444);
    assert_null(remote_program.procs[0].name);
}

/* Random bytes to every decoder: no crash, and never more memory than the arena's limit. */
static void decoders_survive_noise(void **state)
{
    uint8_t noise[512];
    unsigned seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof(noise); i++) {
            noise[i] = (uint8_t)(rand_r(&seed) & (round % 2 != 0 ? 3 : 255));
        }
        for (unsigned p = 1; p < remote_program.n_procs; p++) {
            const struct rpc_codec *c = &remote_program.procs[p].args;
            struct xdr_in in = xdr_in_of(noise, sizeof(noise));
            struct arena a = ARENA_INIT(1 << 20);
            void *v = c->get != NULL ? arena_alloc(&a, c->size) : NULL;

            if (v != NULL) {
                c->get(&in, &a, v);
            }
            arena_done(&a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_open_is_what_virsh_sends),
        cmocka_unit_test(lists_and_options_round_trip),
        cmocka_unit_test(table_knows_its_procedures),
        cmocka_unit_test(decoders_survive_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

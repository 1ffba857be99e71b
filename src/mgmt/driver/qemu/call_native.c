/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_native.c - a definition as the emulator's command line, for people. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/cmdline.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/model/schema.h"
#include "rpc/fault.h"

#include <errno.h>

enum { TEXT_MAX = 1 << 20 };

/* As a shell reads it. */
static void quote(struct strbuf *b, const char *word)
{
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%";

    if (*word != '\0' && strspn(word, safe) == strlen(word)) {
        strbuf_puts(b, word);
        return;
    }
    strbuf_puts(b, "'");
    for (; *word != '\0'; word++) {
        if (*word == '\'') {
            strbuf_puts(b, "'\\''");
        } else {
            strbuf_append(b, word, 1);
        }
    }
    strbuf_puts(b, "'");
}

static int build(struct world *w, struct node *def, struct strbuf *out, struct err **err)
{
    struct domain d = { .world = w, .def = def, .id = -1 };
    struct run *run = run_new(&d);
    AUTO_FREE char *dir =
        str_format("%s/%s/domain--1-%.20s", w->run_dir, w->driver->scheme, node_get(def, "name"));
    struct cmdline c = { .def = def, .run = run, .lib_dir = dir, .dry = true };
    int r = run != NULL && dir != NULL ? aliases_assign(def, err) : -ENOMEM;

    if (r == 0) {
        c.emulator = emulator_get(w, node_get(def, "devices/emulator"), err);
        r = c.emulator != NULL ? cmdline_build(&c, err) : -ENOENT;
    }
    for (unsigned i = 0; r == 0 && i < c.n_env; i++) {
        quote(out, c.env[i]);
        strbuf_puts(out, " ");
    }
    for (unsigned i = 0; r == 0 && i < c.n; i++) {
        strbuf_puts(out, i > 0 ? " " : "");
        quote(out, c.argv[i]);
    }
    strbuf_puts(out, "\n");
    cmdline_done(&c);
    run_unref(run);
    return r;
}

int qemu_connect_domain_xml_to_native(struct call *call,
                                      const struct remote_connect_domain_xml_to_native_args *args,
                                      struct remote_connect_domain_xml_to_native_ret *ret,
                                      struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    struct strbuf out = STRBUF_INIT(TEXT_MAX);
    AUTO_FREE char *text = NULL;
    int r = flags_check(call, args->flags, 0, err);

    if (r == 0 && !str_eq(args->nativeFormat, "qemu-argv")) {
        r = fault(err, DOM_QEMU, INVALID_ARG, "unsupported config type %s", args->nativeFormat);
    }
    r = r == 0 ? schema_parse(args->domainXml, &schema_domain, DOM_DOMAIN, false, &def, err) : r;
    r = r == 0 ? call->world->driver->complete(call->world, def, err) : r;
    r = r == 0 ? build(call->world, def, &out, err) : r;
    text = strbuf_take(&out);
    if (r < 0) {
        return r;
    }
    ret->nativeConfig = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->nativeConfig != NULL ? 0 : -ENOMEM;
}

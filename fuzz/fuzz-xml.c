/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz-xml.c - every kind of document by its schema; a domain is also completed. What was read is
 * written, and what is written can be read.
 */
#include "mgmt/model/domain/domain.h"
#include "mgmt/model/schema.h"
#include "rpc/fault.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *machine(void *arg, const char *emulator, const char *type, const char *name)
{
    (void)arg;
    (void)emulator;
    (void)type;
    return str_eq(name, "q35") ? "pc-q35-7.2" : str_eq(name, "pc") ? "pc-i440fx-7.2" : name;
}

static const char *default_machine(void *arg, const char *emulator, const char *type)
{
    (void)arg;
    (void)emulator;
    (void)type;
    return "pc-i440fx-7.2";
}

static const char *default_cpu(void *arg, const char *emulator, const char *name)
{
    (void)arg;
    (void)emulator;
    (void)name;
    return "qemu64";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct elem *const roots[] = {
        &schema_domain, &schema_network,        &schema_pool,
        &schema_volume, &schema_domainsnapshot, &schema_secret,
        &schema_filter, &schema_device,         &schema_domainbackup,
    };
    static const struct domain_facts facts = { .arch = "x86_64",
                                               .emulator = "/usr/bin/qemu-system-x86_64",
                                               .machine = machine,
                                               .default_machine = default_machine,
                                               .default_cpu = default_cpu };
    AUTO_FREE char *text = strndup((const char *)data, size);

    for (size_t i = 0; text != NULL && i < sizeof(roots) / sizeof(roots[0]); i++) {
        CLEANUP(node_freep) struct node *n = NULL, *again = NULL;
        AUTO_FREE char *xml = NULL;
        int r = schema_parse(text, roots[i], DOM_DOMAIN, false, &n, NULL);

        if (r == 0 && roots[i] == &schema_domain) {
            r = domain_complete(n, &facts, NULL);
            r = r == 0 ? aliases_assign(n, NULL) : r;
        }
        if (r == 0) {
            xml = node_to_xml(n);
        }
        if (xml != NULL && schema_parse(xml, roots[i], DOM_DOMAIN, true, &again, NULL) < 0) {
            __builtin_trap(); /* we wrote what we cannot read */
        }
    }
    return 0;
}

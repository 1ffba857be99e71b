/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * driver.c - test:///default: a world in memory with one domain, one network, one pool, as
 * libvirt's has. Nothing runs; clients and the whole path to us can be tried without an emulator.
 */
#include "mgmt/driver/driver.h"

#include "mgmt/model/domain/domain.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/network.h"
#include "mgmt/object/pool.h"
#include "mgmt/server/remote-ops.h"
#include "mgmt/server/server.h"
#include "rpc/fault.h"

#include <errno.h>
#include <time.h>

static const char default_domain[] =
    "<domain type='test'><name>test</name>"
    "<uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>"
    "<memory>8388608</memory><currentMemory>2097152</currentMemory><vcpu>2</vcpu>"
    "<os><type>hvm</type></os><devices>"
    "<disk type='file' device='disk'><source file='/guest/diskimage1'/><target dev='vda' bus='virtio'/>"
    "<address type='pci' domain='0' bus='1' slot='0' function='0'/></disk>"
    "<interface type='network'><mac address='aa:bb:cc:dd:ee:ff'/><source network='default'/>"
    "<target dev='testnet0'/><address type='pci' domain='0' bus='0' slot='1' function='0'/></interface>"
    "<memballoon model='virtio'><address type='pci' domain='0' bus='0' slot='2' function='0'/></memballoon>"
    "</devices></domain>";

static const char default_pool[] =
    "<pool type='dir'><name>default-pool</name><uuid>dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566</uuid>"
    "<target><path>/default-pool</path></target></pool>";

static const char default_network[] =
    "<network><name>default</name><uuid>dd8fe884-6c02-601e-7551-cca97df1c5df</uuid>"
    "<bridge name='virbr0'/><forward/><ip address='192.168.122.1' netmask='255.255.255.0'>"
    "<dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>";

static const char capabilities_xml[] = "<capabilities>\n\n"
                                       "  <host>\n"
                                       "    <cpu>\n"
                                       "      <arch>i686</arch>\n"
                                       "      <features>\n"
                                       "        <pae/>\n"
                                       "        <nonpae/>\n"
                                       "      </features>\n"
                                       "    </cpu>\n"
                                       "    <power_management/>\n"
                                       "    <iommu support='no'/>\n"
                                       "    <topology>\n"
                                       "      <cells num='2'>\n"
                                       "        <cell id='0'>\n"
                                       "          <memory unit='KiB'>3145728</memory>\n"
                                       "          <pages unit='KiB' size='4'>786432</pages>\n"
                                       "          <cpus num='8'>\n"
                                       "          </cpus>\n"
                                       "        </cell>\n"
                                       "      </cells>\n"
                                       "    </topology>\n"
                                       "  </host>\n\n"
                                       "  <guest>\n"
                                       "    <os_type>linux</os_type>\n"
                                       "    <arch name='i686'>\n"
                                       "      <wordsize>32</wordsize>\n"
                                       "      <domain type='test'/>\n"
                                       "    </arch>\n"
                                       "    <features>\n"
                                       "      <pae/>\n"
                                       "      <nonpae/>\n"
                                       "    </features>\n"
                                       "  </guest>\n\n"
                                       "</capabilities>\n";

static int complete(struct world *w, struct node *def, struct err **err)
{
    static const struct domain_facts f = { .arch = "i686", .plain = true };

    (void)w;
    if (!node_is(def, "@type", "test")) {
        return fault(err, DOM_NONE, INVALID_ARG, "could not find capabilities for domaintype=%s ",
                     node_attr(def, "type") ? node_attr(def, "type") : "");
    }
    return domain_complete(def, &f, err);
}

static int begin_run(struct domain *d)
{
    if (d->persistent && d->next == NULL) {
        d->next = node_copy(d->def);
        if (d->next == NULL) {
            return -ENOMEM;
        }
    }
    d->id = d->world->next_id++;
    d->world->n_active++;
    domain_set_state(d, STATE_RUNNING, RUNNING_BOOTED);
    return node_setf(d->def, "@id", "%d", d->id);
}

static int start(struct domain *d, unsigned flags, struct err **err)
{
    int r = begin_run(d);

    (void)err;
    if (r < 0) {
        return r;
    }
    domain_emit(d, EVENT_STARTED, STARTED_BOOTED);
    if (flags & START_PAUSED) {
        domain_set_state(d, STATE_PAUSED, PAUSED_USER);
        domain_emit(d, EVENT_SUSPENDED, SUSPENDED_PAUSED);
    }
    return 0;
}

static void end_run(struct domain *d, int reason, int detail)
{
    domain_set_state(d, STATE_SHUTOFF, reason);
    domain_emit(d, EVENT_STOPPED, detail);
    d->id = -1;
    d->world->n_active--;
    (void)node_set(d->def, "@id", NULL);
    if (d->next != NULL) {
        node_free(d->def);
        d->def = TAKE_PTR(d->next);
    }
    if (!d->persistent) {
        domain_remove(d);
    }
}

static int destroy(struct domain *d, struct err **err)
{
    (void)err;
    end_run(d, SHUTOFF_DESTROYED, STOPPED_DESTROYED);
    return 0;
}

static int shut_down(struct domain *d, unsigned flags, struct err **err)
{
    (void)flags;
    if (d->state == STATE_SHUTOFF) {
        return fault(err, DOM_TEST, INTERNAL_ERROR, "domain '%s' not running", d->name);
    }
    end_run(d, SHUTOFF_SHUTDOWN, STOPPED_SHUTDOWN);
    return 0;
}

static int reboot(struct domain *d, unsigned flags, struct err **err)
{
    (void)flags;
    (void)err;
    domain_set_state(d, STATE_RUNNING, RUNNING_BOOTED);
    return 0;
}

static int suspend(struct domain *d, struct err **err)
{
    if (d->state == STATE_PAUSED) {
        return fault(err, DOM_TEST, INTERNAL_ERROR, "domain '%s' not running", d->name);
    }
    domain_set_state(d, STATE_PAUSED, PAUSED_USER);
    domain_emit(d, EVENT_SUSPENDED, SUSPENDED_PAUSED);
    return 0;
}

static int resume(struct domain *d, struct err **err)
{
    if (d->state != STATE_PAUSED) {
        return fault(err, DOM_TEST, INTERNAL_ERROR, "domain '%s' not paused", d->name);
    }
    domain_set_state(d, STATE_RUNNING, RUNNING_UNPAUSED);
    domain_emit(d, EVENT_RESUMED, RESUMED_UNPAUSED);
    return 0;
}

static void usage(struct domain *d, uint64_t *ret_cpu_nsec, uint64_t *ret_mem_kib)
{
    struct timespec t;

    (void)d;
    (void)ret_mem_kib;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    *ret_cpu_nsec = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec / 1000 * 1000;
}

static unsigned long version(struct world *w)
{
    (void)w;
    return 2;
}

static char *capabilities(struct world *w, struct err **err)
{
    (void)w;
    (void)err;
    return strdup(capabilities_xml);
}

static int open_world(struct world *w, struct err **err)
{
    struct node *def = NULL;
    struct domain *d;
    struct network *n;
    struct pool *p;
    int r = schema_parse(default_domain, &schema_domain, DOM_TEST, false, &def, err);

    r = r == 0 ? complete(w, def, err) : r;
    r = r == 0 ? domain_add(w, def, &d, err) : r;
    if (r < 0) {
        return r;
    }
    d->persistent = true;
    r = begin_run(d);
    r = r == 0 ? schema_parse(default_network, &schema_network, DOM_TEST, false, &def, err) : r;
    r = r == 0 ? network_complete(w, def, err) : r;
    r = r == 0 ? network_add(w, def, &n) : r;
    if (r == 0) {
        n->persistent = n->active = true;
        r = schema_parse(default_pool, &schema_pool, DOM_TEST, false, &def, err);
    }
    r = r == 0 ? pool_complete(w, def, err) : r;
    r = r == 0 ? pool_add(w, def, &p) : r;
    r = r == 0 ? pool_start(p, err) : r;
    if (r == 0) {
        p->persistent = true;
    }
    return r;
}

static int domain_get_os_type(struct call *call, const struct remote_domain_get_os_type_args *args,
                              struct remote_domain_get_os_type_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    ret->type_ = arena_strdup(&call->arena, "linux");
    return r;
}

static int domain_get_vcpus_flags(struct call *call,
                                  const struct remote_domain_get_vcpus_flags_args *args,
                                  struct remote_domain_get_vcpus_flags_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *def;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_def_of(d, args->flags, &def, err) : r;
    if (r == 0) {
        uint64_t max = node_get_u64(def, "vcpu", 1);

        ret->num = (int32_t)(args->flags & 4 ? max : node_get_u64(def, "vcpu/@current", max));
    }
    return r;
}

static int domain_get_scheduler_parameters(
    struct call *call, const struct remote_domain_get_scheduler_parameters_args *args,
    struct remote_domain_get_scheduler_parameters_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    ret->params = arena_array(&call->arena, 1, sizeof(*ret->params));
    if (r == 0 && ret->params != NULL) {
        ret->n_params = 1;
        ret->params[0].field = arena_strdup(&call->arena, "weight");
        ret->params[0].kind = RPC_TYPED_UINT;
        ret->params[0].value.ui = 50;
    }
    return r;
}

static int node_get_info(struct call *call, struct remote_node_get_info_ret *ret, struct err **err)
{
    (void)call;
    (void)err;
    memcpy(ret->model, "i686", 5);
    ret->memory = 3145728;
    ret->cpus = 16;
    ret->mhz = 1400;
    ret->nodes = 2;
    ret->sockets = 2;
    ret->cores = 2;
    ret->threads = 2;
    return 0;
}

static int node_get_free_memory(struct call *call, struct remote_node_get_free_memory_ret *ret,
                                struct err **err)
{
    (void)call;
    (void)err;
    ret->freeMem = (2048ull + 1024) * 1024;
    return 0;
}

static const struct remote_ops calls = {
    .domain_get_os_type = domain_get_os_type,
    .domain_get_vcpus_flags = domain_get_vcpus_flags,
    .domain_get_scheduler_parameters = domain_get_scheduler_parameters,
    .node_get_info = node_get_info,
    .node_get_free_memory = node_get_free_memory,
};

const struct driver driver_test = {
    .scheme = "test",
    .type = "TEST",
    .fault_domain = DOM_TEST,
    .calls = &calls,
    .open = open_world,
    .version = version,
    .capabilities = capabilities,
    .complete = complete,
    .start = start,
    .destroy = destroy,
    .suspend = suspend,
    .resume = resume,
    .shutdown = shut_down,
    .reboot = reboot,
    .usage = usage,
};

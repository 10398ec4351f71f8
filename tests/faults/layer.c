// A Vulkan layer that makes calls of a driver fail. The tests in this folder build it and run programs under it.
//
//   FAULT_CALLS=Call:code:n          the n-th call of vkCall returns `code` and is not passed on
//   FAULT_CALLS=Call:code:n:every    the same, and every n-th call after it
//   FAULT_LIMITS=limit=value         the device has this limit
//   FAULT_COUNTS=file                at the end, the number of calls by name is written to the file
//
// Several faults or limits are separated by commas. Codes: see `results`. Limits: see `w_properties`.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

static PFN_vkGetInstanceProcAddr next_instance_proc;
static PFN_vkGetDeviceProcAddr next_device_proc;
static VkInstance the_instance;

// ---- which calls fail ----------------------------------------------------------------------------------

static const struct {
    const char *name;
    VkResult result;
} results[] = {
    {"lost", VK_ERROR_DEVICE_LOST},
    {"oom", VK_ERROR_OUT_OF_DEVICE_MEMORY},
    {"hostoom", VK_ERROR_OUT_OF_HOST_MEMORY},
    {"init", VK_ERROR_INITIALIZATION_FAILED},
    {"map", VK_ERROR_MEMORY_MAP_FAILED},
    {"timeout", VK_TIMEOUT},
    {"unknown", VK_ERROR_UNKNOWN},
    // The driver says yes and does nothing: a GPU that never answers.
    {"skip", VK_SUCCESS},
};

struct fault {
    char call[64];
    VkResult result;
    long at;
    int every;
};

struct count {
    const char *call;
    long calls;
};

static struct fault faults[32];
static int fault_count = -1;
static struct count counts[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void parse_faults(void) {
    fault_count = 0;
    const char *text = getenv("FAULT_CALLS");
    char copy[2048];
    if (!text) return;
    snprintf(copy, sizeof copy, "%s", text);
    char *rest, *entry = strtok_r(copy, ",", &rest);
    for (; entry && fault_count < 32; entry = strtok_r(NULL, ",", &rest)) {
        struct fault *fault = &faults[fault_count];
        char code[16], every[8] = "";
        if (sscanf(entry, "%63[^:]:%15[^:]:%ld:%7s", fault->call, code, &fault->at, every) < 3) continue;
        fault->every = every[0] != 0;
        for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
            if (!strcmp(code, results[i].name)) {
                fault->result = results[i].result;
                fault_count++;
            }
        }
    }
}

// Counts a call, and says whether it fails with `*result`. `call` is a literal.
static int fails(const char *call, VkResult *result) {
    int failed = 0;
    pthread_mutex_lock(&lock);
    if (fault_count < 0) parse_faults();
    struct count *count = counts;
    while (count->call && strcmp(count->call, call)) count++;
    count->call = call;
    count->calls++;
    for (int i = 0; i < fault_count; i++) {
        struct fault *fault = &faults[i];
        if (strcmp(fault->call, call)) continue;
        if (count->calls == fault->at || (fault->every && count->calls % fault->at == 0)) {
            *result = fault->result;
            failed = 1;
        }
    }
    pthread_mutex_unlock(&lock);
    return failed;
}

__attribute__((destructor)) static void write_counts(void) {
    const char *path = getenv("FAULT_COUNTS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    for (struct count *count = counts; count->call; count++) fprintf(file, "%s %ld\n", count->call, count->calls);
    fclose(file);
}

// ---- calls of a device ---------------------------------------------------------------------------------

#define CALLS(X) \
    X(QueueSubmit, (VkQueue q, uint32_t n, const VkSubmitInfo *s, VkFence f), (q, n, s, f)) \
    X(QueueSubmit2, (VkQueue q, uint32_t n, const VkSubmitInfo2 *s, VkFence f), (q, n, s, f)) \
    X(WaitForFences, (VkDevice d, uint32_t n, const VkFence *f, VkBool32 a, uint64_t t), (d, n, f, a, t)) \
    X(WaitSemaphores, (VkDevice d, const VkSemaphoreWaitInfo *i, uint64_t t), (d, i, t)) \
    X(GetSemaphoreCounterValue, (VkDevice d, VkSemaphore s, uint64_t *v), (d, s, v)) \
    X(GetFenceStatus, (VkDevice d, VkFence f), (d, f)) \
    X(DeviceWaitIdle, (VkDevice d), (d)) \
    X(QueueWaitIdle, (VkQueue q), (q)) \
    X(AllocateMemory, (VkDevice d, const VkMemoryAllocateInfo *i, const VkAllocationCallbacks *a, VkDeviceMemory *m), (d, i, a, m)) \
    X(MapMemory, (VkDevice d, VkDeviceMemory m, VkDeviceSize o, VkDeviceSize s, VkMemoryMapFlags f, void **p), (d, m, o, s, f, p)) \
    X(BindBufferMemory, (VkDevice d, VkBuffer b, VkDeviceMemory m, VkDeviceSize o), (d, b, m, o)) \
    X(CreateBuffer, (VkDevice d, const VkBufferCreateInfo *i, const VkAllocationCallbacks *a, VkBuffer *b), (d, i, a, b)) \
    X(CreateShaderModule, (VkDevice d, const VkShaderModuleCreateInfo *i, const VkAllocationCallbacks *a, VkShaderModule *m), (d, i, a, m)) \
    X(CreateDescriptorSetLayout, (VkDevice d, const VkDescriptorSetLayoutCreateInfo *i, const VkAllocationCallbacks *a, VkDescriptorSetLayout *l), (d, i, a, l)) \
    X(CreatePipelineLayout, (VkDevice d, const VkPipelineLayoutCreateInfo *i, const VkAllocationCallbacks *a, VkPipelineLayout *l), (d, i, a, l)) \
    X(CreateComputePipelines, (VkDevice d, VkPipelineCache c, uint32_t n, const VkComputePipelineCreateInfo *i, const VkAllocationCallbacks *a, VkPipeline *p), (d, c, n, i, a, p)) \
    X(CreatePipelineCache, (VkDevice d, const VkPipelineCacheCreateInfo *i, const VkAllocationCallbacks *a, VkPipelineCache *p), (d, i, a, p)) \
    X(GetPipelineCacheData, (VkDevice d, VkPipelineCache c, size_t *n, void *p), (d, c, n, p)) \
    X(CreateDescriptorPool, (VkDevice d, const VkDescriptorPoolCreateInfo *i, const VkAllocationCallbacks *a, VkDescriptorPool *p), (d, i, a, p)) \
    X(AllocateDescriptorSets, (VkDevice d, const VkDescriptorSetAllocateInfo *i, VkDescriptorSet *s), (d, i, s)) \
    X(CreateCommandPool, (VkDevice d, const VkCommandPoolCreateInfo *i, const VkAllocationCallbacks *a, VkCommandPool *p), (d, i, a, p)) \
    X(AllocateCommandBuffers, (VkDevice d, const VkCommandBufferAllocateInfo *i, VkCommandBuffer *c), (d, i, c)) \
    X(BeginCommandBuffer, (VkCommandBuffer c, const VkCommandBufferBeginInfo *i), (c, i)) \
    X(EndCommandBuffer, (VkCommandBuffer c), (c)) \
    X(ResetCommandPool, (VkDevice d, VkCommandPool p, VkCommandPoolResetFlags f), (d, p, f)) \
    X(CreateQueryPool, (VkDevice d, const VkQueryPoolCreateInfo *i, const VkAllocationCallbacks *a, VkQueryPool *p), (d, i, a, p)) \
    X(CreateFence, (VkDevice d, const VkFenceCreateInfo *i, const VkAllocationCallbacks *a, VkFence *f), (d, i, a, f)) \
    X(CreateSemaphore, (VkDevice d, const VkSemaphoreCreateInfo *i, const VkAllocationCallbacks *a, VkSemaphore *s), (d, i, a, s))

#define WRAP(name, parameters, arguments) \
    static PFN_vk##name next_##name; \
    static VKAPI_ATTR VkResult VKAPI_CALL w_##name parameters { \
        VkResult result; \
        return fails(#name, &result) ? result : next_##name arguments; \
    }
CALLS(WRAP)

#define HOOK(call, parameters, arguments) \
    if (!strcmp(name, "vk" #call) || !strcmp(name, "vk" #call "KHR")) { \
        next_##call = (PFN_vk##call)next; \
        return (PFN_vkVoidFunction)w_##call; \
    }
static PFN_vkVoidFunction wrapped(const char *name, PFN_vkVoidFunction next) {
    CALLS(HOOK)
    return next;
}

// ---- limits --------------------------------------------------------------------------------------------

static PFN_vkGetPhysicalDeviceProperties next_properties;
static PFN_vkGetPhysicalDeviceProperties2 next_properties2;

static void set_limits(VkPhysicalDeviceLimits *limits) {
    const char *text = getenv("FAULT_LIMITS");
    char copy[512];
    if (!text) return;
    snprintf(copy, sizeof copy, "%s", text);
    char *rest, *entry = strtok_r(copy, ",", &rest);
    for (; entry; entry = strtok_r(NULL, ",", &rest)) {
        char name[32];
        long value;
        if (sscanf(entry, "%31[^=]=%ld", name, &value) != 2) continue;
        if (!strcmp(name, "lanes")) limits->maxComputeWorkGroupInvocations = limits->maxComputeWorkGroupSize[0] = value;
        if (!strcmp(name, "buffers")) limits->maxPerStageDescriptorStorageBuffers = limits->maxDescriptorSetStorageBuffers = value;
        if (!strcmp(name, "binding")) limits->maxStorageBufferRange = value;
        if (!strcmp(name, "shared")) limits->maxComputeSharedMemorySize = value;
        if (!strcmp(name, "grid")) for (int i = 0; i < 3; i++) limits->maxComputeWorkGroupCount[i] = value;
    }
}

static VKAPI_ATTR void VKAPI_CALL w_properties(VkPhysicalDevice device, VkPhysicalDeviceProperties *out) {
    next_properties(device, out);
    set_limits(&out->limits);
}

static VKAPI_ATTR void VKAPI_CALL w_properties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *out) {
    next_properties2(device, out);
    set_limits(&out->properties.limits);
}

// ---- what the loader wants of a layer ------------------------------------------------------------------

// The link to the next layer, which the loader puts into the list at `next`.
static void *link_in(const void *next, VkStructureType type) {
    for (const VkLayerInstanceCreateInfo *link = next; link; link = link->pNext)
        if (link->sType == type && link->function == VK_LAYER_LINK_INFO) return (void *)link;
    return NULL;
}

static VKAPI_ATTR VkResult VKAPI_CALL w_CreateInstance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator, VkInstance *instance) {
    VkResult result;
    if (fails("CreateInstance", &result)) return result;
    VkLayerInstanceCreateInfo *link = link_in(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    next_instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    result = ((PFN_vkCreateInstance)next_instance_proc(NULL, "vkCreateInstance"))(info, allocator, instance);
    if (result != VK_SUCCESS) return result;
    the_instance = *instance;
    next_properties = (PFN_vkGetPhysicalDeviceProperties)next_instance_proc(*instance, "vkGetPhysicalDeviceProperties");
    next_properties2 = (PFN_vkGetPhysicalDeviceProperties2)next_instance_proc(*instance, "vkGetPhysicalDeviceProperties2");
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL w_CreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *allocator, VkDevice *device) {
    VkResult result;
    if (fails("CreateDevice", &result)) return result;
    VkLayerDeviceCreateInfo *link = link_in(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    next_device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    return ((PFN_vkCreateDevice)instance_proc(the_instance, "vkCreateDevice"))(physical, info, allocator, device);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_proc(VkDevice device, const char *name) {
    if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_proc;
    PFN_vkVoidFunction next = next_device_proc(device, name);
    return next ? wrapped(name, next) : NULL;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_proc(VkInstance instance, const char *name) {
    static const struct {
        const char *name;
        void *wrapper;
    } wrappers[] = {
        {"vkGetInstanceProcAddr", instance_proc},
        {"vkGetDeviceProcAddr", device_proc},
        {"vkCreateInstance", w_CreateInstance},
        {"vkCreateDevice", w_CreateDevice},
        {"vkGetPhysicalDeviceProperties", w_properties},
        {"vkGetPhysicalDeviceProperties2", w_properties2},
        {"vkGetPhysicalDeviceProperties2KHR", w_properties2},
    };
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++)
        if (!strcmp(name, wrappers[i].name)) return (PFN_vkVoidFunction)wrappers[i].wrapper;
    return next_instance_proc ? next_instance_proc(instance, name) : NULL;
}

VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *layer) {
    if (layer->loaderLayerInterfaceVersion > 2) layer->loaderLayerInterfaceVersion = 2;
    layer->pfnGetInstanceProcAddr = instance_proc;
    layer->pfnGetDeviceProcAddr = device_proc;
    layer->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}

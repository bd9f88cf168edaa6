// Exports of a kernel: its signature as text, and its launch with an array of argument pointers.
//
// The kernels stand in an anonymous namespace: that gives even static variables inside templates
// and inline functions (shared memory) a place in one linker section.
#pragma once
#include <string>
#include <utility>

#include "ptx_emulation.h"

#define EMULATED_KERNELS_BEGIN namespace {
#define EMULATED_KERNELS_END }

namespace emulation {

template <class T> std::string type_code() {
    if (std::is_pointer<T>::value) {
        typedef typename std::remove_pointer<T>::type Element;
        std::string element = type_code<typename std::remove_cv<Element>::type>();
        return (std::is_const<Element>::value ? "const *" : "*") + element;
    }
    std::string size = std::to_string(sizeof(typename std::conditional<std::is_void<T>::value, char, T>::type));
    if (std::is_floating_point<T>::value) return "f" + size;
    if (std::is_integral<T>::value) return (std::is_signed<T>::value ? "i" : "u") + size;
    return "V" + size;
}

template <class... P> const char* signature(void (*)(P...)) {
    static std::string text;
    text.clear();
    ((text += type_code<P>() + ","), ...);
    return text.c_str();
}

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*(typename std::remove_cv<P>::type*)arguments[I]...);
}

template <class... P> void call(void (*kernel)(P...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<P...>());
}

}  // namespace emulation

#define EMULATED_KERNEL(name)                                                                   \
    extern "C" __attribute__((visibility("default"))) const char* emulated_signature_##name() { \
        return emulation::signature(&name);                                                     \
    }                                                                                           \
    static void emulated_call_##name(void** arguments) { emulation::call(&name, arguments); }   \
    extern "C" __attribute__((visibility("default"))) const char* emulated_run_##name(          \
        const emulation::Launch* launch, void** arguments) {                                    \
        return emulation::run(launch, emulated_call_##name, arguments);                         \
    }

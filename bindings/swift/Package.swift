// swift-tools-version: 5.9
// `./generate` writes the generated Swift to Sources/Parr and the C header to Sources/ParrFFI. It puts the library
// where this file expects it: an XCFramework on a Mac, `lib/` on other systems.
import PackageDescription

#if os(macOS)
let native: [Target] = [.binaryTarget(name: "ParrFFI", path: "ParrFFI.xcframework")]
let settings: [LinkerSetting] = [
    .linkedFramework("Metal"), .linkedFramework("QuartzCore"), .linkedFramework("Foundation"),
]
#else
let native: [Target] = [.systemLibrary(name: "ParrFFI", path: "Sources/ParrFFI")]
let settings: [LinkerSetting] = [
    .unsafeFlags(["-L\(Context.packageDirectory)/lib", "-Xlinker", "-rpath", "-Xlinker", "\(Context.packageDirectory)/lib"]),
    .linkedLibrary("parr_ffi"),
]
#endif

let package = Package(
    name: "Parr",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "Parr", targets: ["Parr"])],
    targets: native + [
        // Language mode 5, because uniffi's generated code does not support mode 6. Packages in mode 6 can import it.
        .target(name: "Parr", dependencies: ["ParrFFI"], linkerSettings: settings),
        .executableTarget(name: "Scenario", dependencies: ["Parr"]),
    ]
)

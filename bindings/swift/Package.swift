// swift-tools-version: 5.9
// `./generate` puts the generated Swift into Sources/Parr, the C header into Sources/ParrFFI, and the library
// where this finds it: an XCFramework on a Mac, `lib/` elsewhere.
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
        // Mode 5: what uniffi generates is not ready for mode 6. Packages in mode 6 may import it.
        .target(name: "Parr", dependencies: ["ParrFFI"], linkerSettings: settings),
        .executableTarget(name: "Scenario", dependencies: ["Parr"]),
    ]
)

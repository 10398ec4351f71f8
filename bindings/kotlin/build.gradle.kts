// An Android library (AAR). `./native` writes the generated Kotlin to build/generated and the shared libraries,
// one for each ABI, to build/jniLibs, where JNA finds them. The JVM needs the same sources and `jna.jar`;
// `bindings/test` compiles and runs them without Gradle.
plugins {
    id("com.android.library") version "8.7.3"
    kotlin("android") version "2.1.0"
}

android {
    namespace = "dev.parr"
    compileSdk = 35
    defaultConfig {
        // Every supported GPU has Vulkan 1.1, which came with Android 10.
        minSdk = 29
        consumerProguardFiles("consumer-rules.pro")
    }
    sourceSets["main"].apply {
        java.srcDirs("src/main/kotlin", "build/generated")
        jniLibs.srcDirs("build/jniLibs")
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies {
    implementation("net.java.dev.jna:jna:5.13.0@aar")
    api("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.9.0")
}

// The sources and libraries that rustc and the generator write.
tasks.register<Exec>("native") {
    commandLine("./native")
}
tasks.named("preBuild") { dependsOn("native") }

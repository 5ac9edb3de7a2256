//! The icon in the tray, where the desktop has one: shows the window, says what runs, quits.
//!
//! Spoken directly, by D-Bus: `org.kde.StatusNotifierItem` with a menu of `com.canonical.dbusmenu`,
//! as freedesktop's notes and KDE's and Canonical's interfaces say. So no library has to be there,
//! and nothing breaks where no tray is: an item is registered with `org.kde.StatusNotifierWatcher`
//! whenever that comes.

#[cfg(target_os = "linux")]
pub(crate) use linux::watch;

/// There is no tray of ours here.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn watch(_app: tauri::AppHandle, _host: std::sync::Arc<crate::state::Host>) {}

#[cfg(target_os = "linux")]
mod linux {
    use crate::state::Host;
    use crate::window;
    use futures::StreamExt as _;
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;
    use tauri::{AppHandle, Manager as _};
    use zbus::zvariant::{OwnedValue, StructureBuilder, Type, Value};

    const WATCHER: &str = "org.kde.StatusNotifierWatcher";
    const ITEM: &str = "/StatusNotifierItem";
    const MENU: &str = "/StatusNotifierItem/Menu";
    /// Time between two looks at the setting.
    const LOOK: Duration = Duration::from_secs(1);

    /// Ids of the menu's entries.
    const SHOW: i32 = 1;
    const QUIT: i32 = 2;

    /// Registers the icon whenever there is a tray, for as long as the app may be without a window.
    pub(crate) async fn watch(app: AppHandle, host: Arc<Host>) {
        while !host.settings.load().keep_in_background {
            tokio::time::sleep(LOOK).await;
        }
        if let Err(error) = register(app).await {
            tracing::info!(%error, "there is no tray");
        }
    }

    async fn register(app: AppHandle) -> zbus::Result<()> {
        let bus = zbus::Connection::session().await?;
        bus.object_server().at(ITEM, Item { app: app.clone() }).await?;
        bus.object_server().at(MENU, Menu { app }).await?;
        let own = bus.unique_name().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let names = zbus::fdo::DBusProxy::new(&bus).await?;
        // Trays come late at a login, and start again.
        let mut owners = names.receive_name_owner_changed_with_args(&[(0, WATCHER)]).await?;
        loop {
            let watcher = zbus::names::BusName::try_from(WATCHER)?;
            if names.name_has_owner(watcher).await? {
                let own = (own.as_str(),);
                let registered = bus.call_method(
                    Some(WATCHER),
                    "/StatusNotifierWatcher",
                    Some(WATCHER),
                    "RegisterStatusNotifierItem",
                    &own,
                );
                if let Err(error) = registered.await {
                    tracing::info!(%error, "the tray does not take the icon");
                }
            }
            if owners.next().await.is_none() {
                return Ok(());
            }
        }
    }

    /// The icon.
    struct Item {
        app: AppHandle,
    }

    #[zbus::interface(name = "org.kde.StatusNotifierItem")]
    impl Item {
        fn activate(&self, _x: i32, _y: i32) {
            window::focus(&self.app);
        }

        fn secondary_activate(&self, _x: i32, _y: i32) {
            window::focus(&self.app);
        }

        #[zbus(property)]
        fn category(&self) -> &str {
            "Communications"
        }

        #[zbus(property)]
        fn id(&self) -> &str {
            "threadkeep"
        }

        #[zbus(property)]
        fn title(&self) -> &str {
            "Threadkeep"
        }

        #[zbus(property)]
        fn status(&self) -> &str {
            "Active"
        }

        #[zbus(property)]
        fn icon_name(&self) -> &str {
            "threadkeep-desktop"
        }

        #[zbus(property)]
        fn item_is_menu(&self) -> bool {
            false
        }

        #[zbus(property)]
        fn menu(&self) -> zbus::zvariant::OwnedObjectPath {
            zbus::zvariant::ObjectPath::from_static_str_unchecked(MENU).into()
        }
    }

    /// An entry of the menu: its id, its properties, its own entries.
    #[derive(Debug, serde::Serialize, Type)]
    struct Entry {
        id: i32,
        properties: HashMap<String, OwnedValue>,
        children: Vec<OwnedValue>,
    }

    /// The icon's menu.
    struct Menu {
        app: AppHandle,
    }

    #[zbus::interface(name = "com.canonical.dbusmenu")]
    impl Menu {
        fn get_layout(
            &self,
            parent: i32,
            _depth: i32,
            _names: Vec<String>,
        ) -> zbus::fdo::Result<(u32, Entry)> {
            let children = if parent == 0 {
                [SHOW, QUIT].into_iter().map(|id| self.child(id)).collect::<zbus::Result<_>>()?
            } else {
                Vec::new()
            };
            Ok((1, Entry { id: parent, properties: self.properties(parent), children }))
        }

        fn get_group_properties(
            &self,
            ids: Vec<i32>,
            _names: Vec<String>,
        ) -> Vec<(i32, HashMap<String, OwnedValue>)> {
            let ids = if ids.is_empty() { vec![SHOW, QUIT] } else { ids };
            ids.into_iter().map(|id| (id, self.properties(id))).collect()
        }

        fn event(&self, id: i32, kind: &str, _data: OwnedValue, _timestamp: u32) {
            match (kind, id) {
                ("clicked", SHOW) => window::focus(&self.app),
                ("clicked", QUIT) => self.app.exit(0),
                _ => {}
            }
        }

        /// Always: the number of those at work may be another by now.
        fn about_to_show(&self, _id: i32) -> bool {
            true
        }

        #[zbus(property)]
        fn version(&self) -> u32 {
            3
        }

        #[zbus(property)]
        fn status(&self) -> &str {
            "normal"
        }
    }

    impl Menu {
        fn properties(&self, id: i32) -> HashMap<String, OwnedValue> {
            let label = match (id, self.app.state::<Arc<Host>>().here.running()) {
                (SHOW, _) => "Show Threadkeep".to_owned(),
                (QUIT, 0) => "Quit".to_owned(),
                (QUIT, running) => format!("Quit ({running} still at work)"),
                _ => return HashMap::new(),
            };
            let label = Value::from(label).try_to_owned();
            label.into_iter().map(|label| ("label".to_owned(), label)).collect()
        }

        fn child(&self, id: i32) -> zbus::Result<OwnedValue> {
            let entry = StructureBuilder::new()
                .add_field(id)
                .add_field(self.properties(id))
                .add_field(Vec::<OwnedValue>::new())
                .build()?;
            Ok(Value::from(entry).try_into()?)
        }
    }
}
